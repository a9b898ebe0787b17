"""MANAS: each choice is a bandit that draws one option; all are told the same loss.

π ∝ exp(−η Ĉ), Ĉ the importance-weighted losses of each option so far; one sampled path runs
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
from mimar.gradient.update import ExponentialWeights
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
    "after the paper's mechanism as recalled: no code was found; the rate η is the theory's unless given",
    "losses are brought to 0 to 1 by their running range",
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
    rate: Positive | None = None,
    epochs: Count = 20,
    warmup: Whole = 0,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="manas",
        relaxation=Categorical(),
        hypergradient=Sampled(),
        inner=Sgd(lr=lr),
        outer=ExponentialWeights(rate=rate),
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
