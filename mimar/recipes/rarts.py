"""RARTS: two copies of the weights, one a half of the data, tied to each other; both gradients drive the alphas.

w descends λ L1(w, α) + ½β ‖w − y‖², y descends L2(y, α) + ½β ‖y − w‖², α descends λ L1(w, α) + L2(y, α)
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import Relaxed
from mimar.gradient.regularise import AlphaDecay, LossScale, Tether, WeightDecay
from mimar.gradient.relax import Softmax
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.search.twin import Twin
from mimar.tasks import Task

PAPER = Paper(
    "Xue, Fanghui and Qi, Yingyong and Xin, Jack",
    2020,
    "IEEE Access",
    "RARTS: An Efficient First-Order Relaxed Architecture Search Method",
    "https://arxiv.org/abs/2008.03901",
)
DIFFERS = (
    "after the paper's formulas as recalled: no code was found",
    "balance and tie are 1; the paper's toy has 10 and 10, on a loss of two numbers",
    "momentum and clipping as in DARTS, of both copies; weight decay is on w alone, y has it through the tie",
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
    balance: Positive = 1.0,
    tie: NonNegative = 1.0,
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
        name="rarts",
        relaxation=Softmax(),
        hypergradient=Relaxed(1.0),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay), LossScale(balance), Tether(tie)),
        schedule=Alternate(epochs=epochs, inner_steps=1),
        derivation=Strongest(),
        twin=Twin(tie),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
