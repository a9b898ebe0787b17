"""GDAS: one sampled path runs, and its gradient is that of the relaxed sample.

y = softmax((log softmax(α) + G) / τ);   gates h = onehot(argmax y) · (1 + y − stop(y)): only the chosen option runs
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import GumbelHard
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Dong, Xuanyi and Yang, Yi",
    2019,
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    "Searching for a Robust Neural Architecture in Four GPU Hours",
    "https://arxiv.org/abs/1910.04465",
)
DIFFERS = (
    "the clean form: the gates of options that were not sampled get no gradient",
    "plain momentum and weight decay 3e-4; the released NAS-Bench-201 search has Nesterov's and 5e-4",
    "the weight step comes before the alpha step of the same iteration",
    "the alphas' rate is max(alpha_lr, travel / outer steps), so that gates move in short searches; travel=0: the paper's",
    "weight decay and alpha decay are losses, not options of the optimisers",
)
TIER = "toy"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    start: Positive = 10.0,
    end: Positive = 0.1,
    epochs: Count = 20,
    warmup: Whole = 0,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    alpha_lr: Positive = 3e-4,
    alpha_decay: NonNegative = 1e-3,
    travel: NonNegative = 10.0,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="gdas",
        relaxation=GumbelHard(start=start, end=end),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Alternate(epochs=epochs, inner_steps=1, warmup=warmup),
        derivation=Strongest(),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
