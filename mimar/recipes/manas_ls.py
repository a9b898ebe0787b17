"""MANAS-LS: bandits that share a linear model of the reward.

reward ≈ Σ B[choice, option], B by least squares over the architectures seen; each choice draws from softmax(B / τ)
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import Sampled
from mimar.gradient.regularise import WeightDecay
from mimar.gradient.relax import Categorical
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import LeastSquares
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Carlucci, Fabio Maria and Esperança, Pedro M. and Singh, Marco and Gabillon, Victor and Yang, Antoine and Xu, Hang and Chen, Zewei and Wang, Jun",
    2019,
    "arXiv preprint",
    "MANAS: Multi-Agent Neural Architecture Search",
    "https://arxiv.org/abs/1909.01051",
)
DIFFERS = (
    "after the paper's mechanism as recalled: no code was found",
    "the reward is the running mean of the losses minus the loss; B is divided by its spread; τ = max(end, start / √t)",
    "the bandits are told the loss of an architecture drawn anew after the weight step; the paper's round has one draw",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    ridge: Positive = 1.0,
    start: Positive = 2.0,
    end: Positive = 0.1,
    epochs: Count = 20,
    warmup: Whole = 0,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="manas-ls",
        relaxation=Categorical(),
        hypergradient=Sampled(),
        inner=Sgd(lr=lr),
        outer=LeastSquares(ridge=ridge, start=start, end=end),
        terms=(WeightDecay(decay),),
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
