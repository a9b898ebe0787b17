"""Random search with weight sharing: shared weights trained on uniform random paths rank random architectures.

w ← w − η ∇_w L1(w, p) with p the one-hot gates of an architecture drawn anew in every step; then the best of
`candidates` drawn architectures by validation accuracy under the shared weights is retrained from scratch
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.regularise import WeightDecay
from mimar.search import OneShot
from mimar.tasks import Task

PAPER = Paper(
    "Li, Liam and Talwalkar, Ameet",
    2019,
    "Conference on Uncertainty in Artificial Intelligence (UAI)",
    "Random Search and Reproducibility for Neural Architecture Search",
    "https://arxiv.org/abs/1902.07638",
)
DIFFERS = (
    "batch-norm statistics are recalibrated for every candidate before it is measured",
    "candidates are compared on the whole validation half; the paper first takes a few batches, then the best ten fully",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    candidates: Count = 100,
    epochs: Count = 20,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    retrain: Retrain = Retrain(),
) -> OneShot:
    return OneShot(
        name="random-ws",
        inner=Sgd(lr=lr),
        terms=(WeightDecay(decay),),
        epochs=epochs,
        candidates=candidates,
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
