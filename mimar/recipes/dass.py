"""DASS: the architecture is searched for what it is worth after pruning.

three phases: dense weights, then the scores of a mask that keeps the share `keep`, then the surviving weights
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import Unrolled
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import Softmax
from mimar.gradient.schedule import Alternate, InheritScores, Phases, Stage
from mimar.gradient.update import Adam
from mimar.nets.remodel import Sparse
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Mousavi, Hamid and Loni, Mohammad and Alibeigi, Mina and Daneshtalab, Masoud",
    2023,
    "ACM Transactions on Embedded Computing Systems",
    "DASS: Differentiable Architecture Search for Sparse Neural Networks",
    "https://arxiv.org/abs/2207.06968",
)
DIFFERS = (
    "the phases share one learning rate, the paper's scores have 0.1; keep is 0.1 at our scale, 0.01 in the paper",
    "the derived network is trained sparse from scratch, its scores beside its weights; decays are losses, and the scores decay too",
    "the look-ahead is a plain gradient step of the weights that train in the phase; the weight step comes before the alpha step",
    "the alphas' rate is max(alpha_lr, travel / outer steps), so that gates move in short searches; travel=0: the paper's",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    keep: Fraction = 0.1,
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
        name="dass",
        relaxation=Softmax(),
        hypergradient=Unrolled(steps=1),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Phases(
            Alternate(epochs=epochs),
            stages=(
                Stage(2.0, rest=("scores",), settings={"keep": 1.0}),
                Stage(1.0, only=("scores",), settings={"keep": keep}, begin=InheritScores()),
                Stage(2.0, rest=("scores",), settings={"keep": keep}),
            ),
        ),
        derivation=Strongest(),
        remodel=Sparse(keep),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
