"""DARTS-PT: an operation is worth what the supernet loses without it.

choice by choice, in random order: mask each option, keep the one whose absence hurts most, tune the supernet
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Perturbation
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import Softmax
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Wang, Ruochen and Cheng, Minhao and Chen, Xiangning and Tang, Xiaocheng and Hsieh, Cho-Jui",
    2021,
    "International Conference on Learning Representations (ICLR)",
    "Rethinking Architecture Selection in Differentiable NAS",
    "https://arxiv.org/abs/2108.04392",
)
DIFFERS = (
    "batch-norm statistics are gathered anew for every masked supernet; the released code measures in training mode",
    "momentum and the rate's cosine begin anew in every tuning, in the released code once for all of them",
    "one epoch of tuning between decisions, in the paper 5",
    "each choice is decided alone; the released code decides one edge of both cells between tunings, and asks for `none` too",
    "the weight step comes before the alpha step of the same iteration",
    "the alphas' rate is max(alpha_lr, travel / outer steps), so that gates move in short searches; travel=0: the paper's",
    "weight decay and alpha decay are losses, not options of the optimisers",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    tune: Whole = 1,
    renormalise: bool = False,
    blank: bool = False,
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
        name="darts-pt",
        relaxation=Softmax(),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Alternate(epochs=epochs, warmup=epochs if blank else warmup),
        derivation=Perturbation(tune=tune, renormalise=renormalise),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
