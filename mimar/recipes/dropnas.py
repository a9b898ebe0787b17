"""DropNAS: one level on all data, whole operations drop out by groups.

an option drops with probability r^{1/|group|}, softmax over the survivors; the dropped keep their probability exactly
"""

from typing import Annotated

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import SingleLevel
from mimar.gradient.regularise import AlphaDecay, PartialDecay
from mimar.gradient.relax import GroupDropout
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Hong, Weijun and Li, Guilin and Zhang, Weinan and Tang, Ruiming and Wang, Yunhe and Li, Zhenguo and Yu, Yong",
    2020,
    "International Joint Conference on Artificial Intelligence (IJCAI)",
    "DropNAS: Grouped Operation Dropout for Differentiable Architecture Search",
    "https://arxiv.org/abs/2201.11679",
)
DIFFERS = (
    "what was dropped is known from masks; the released code infers it from a gradient's first entry",
    "partial decay is ½ · rate · ‖w‖² in the loss; the released code has twice the gradient",
    "the validation figures of the log are, for four fifths, on data that the weights have seen",
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
    drop: Annotated[float, Range(0.0, 1.0)] = 3e-5,
    lr: Positive = 0.0375,
    epochs: Count = 20,
    warmup: Whole = 0,
    batch: Batch = 32,
    decay: NonNegative = 3e-4,
    alpha_lr: Positive = 3e-4,
    alpha_decay: NonNegative = 1e-3,
    travel: NonNegative = 10.0,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="dropnas",
        relaxation=GroupDropout(rate=drop),
        hypergradient=SingleLevel(),
        inner=Sgd(lr=lr, clip=3.0),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(PartialDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Alternate(epochs=epochs, warmup=warmup, floor=1.5e-3),
        derivation=Strongest(),
        split="fit",
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
