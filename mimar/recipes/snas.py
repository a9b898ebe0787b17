"""SNAS: one level; gates are a relaxed sample that turns hard, and its expected cost is part of the loss.

Z = softmax((α + G) / τ), G Gumbel noise, τ → 0;   w and α descend L1(w, Z) + λ log E[cost] from the same pass
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import SingleLevel
from mimar.gradient.regularise import AlphaDecay, ExpectedCost, WeightDecay
from mimar.gradient.relax import Gumbel
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Xie, Sirui and Zheng, Hehui and Liu, Chunxiao and Lin, Liang",
    2019,
    "International Conference on Learning Representations (ICLR)",
    "SNAS: Stochastic Neural Architecture Search",
    "https://arxiv.org/abs/1812.09926",
)
DIFFERS = (
    "the cost is MACs under the sampled gates, the paper also has parameters and memory access; of its three estimators this is the reparametrised one",
    "no drop-path in the search; the release has 0.3",
    "in the DARTS net two edges a node are kept; the paper keeps those that none has not taken",
    "τ goes down over the whole search; the released code fixes 150 epochs",
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
    cost: NonNegative = 1.5e-3,
    start: Positive = 1.0,
    end: Positive = 0.03,
    epochs: Count = 20,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    alpha_lr: Positive = 3e-4,
    alpha_decay: NonNegative = 1e-3,
    travel: NonNegative = 10.0,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="snas",
        relaxation=Gumbel(start=start, end=end),
        hypergradient=SingleLevel(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay), ExpectedCost(cost, measure="macs")),
        schedule=Alternate(epochs=epochs, inner_steps=1),
        derivation=Strongest(),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
