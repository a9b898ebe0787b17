"""ENAS: a recurrent controller learns to draw good paths through shared weights, which train on the paths that it draws.

epoch   w ← w − η ∇_w L1(w, a), a new path a ~ π in every step, π fixed
        `queries` times:   θ ← REINFORCE step on the accuracy of one path on one validation batch
end     the best of `candidates` drawn paths on the whole validation half is retrained from scratch
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.regularise import WeightDecay
from mimar.search import OneShot
from mimar.strategies.ascent import Baseline
from mimar.strategies.recurrent import Recurrent
from mimar.strategies.reinforce import Reinforce
from mimar.tasks import Task

PAPER = Paper(
    "Pham, Hieu and Guan, Melody Y. and Zoph, Barret and Le, Quoc V. and Dean, Jeff",
    2018,
    "International Conference on Machine Learning (ICML)",
    "Efficient Neural Architecture Search via Parameter Sharing",
    "https://arxiv.org/abs/1802.03268",
)
DIFFERS = (
    "the controller decides the choices of the space in their order by softmax; no attention over earlier nodes",
    "no bias towards convolutions at the beginning, and cosine decay without restarts",
    "the search trains without drop-path; networks of a query take the batch-norm statistics of their batch",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    epochs: Count = 20,
    batch: Batch = 32,
    lr: Positive = 0.05,
    decay: NonNegative = 3e-4,
    queries: Count = 60,
    policy_lr: Positive = 0.0035,
    entropy: NonNegative = 1e-4,
    hidden: Count = 64,
    candidates: Count = 20,
    retrain: Retrain = Retrain(),
) -> OneShot:
    return OneShot(
        name="enas",
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
        strategy=Reinforce(
            policy=Recurrent(hidden=hidden, layers=1, tanh_scale=1.1),
            lr=policy_lr,
            baseline=Baseline(momentum=0.99, update="after"),
            entropy=entropy,
        ),
        queries=queries,
    )
