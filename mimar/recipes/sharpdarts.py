"""sharpDARTS: the leading operation always counts fully, and the learning rate follows a powered cosine.

mixture Σ (1 − max_j p_j + p_i) o_i(x);   η = η_min + (η_max − η_min)(q^{c+1} − q)/(q² − q), c = ½(1 + cos πt)
"""

from typing import Annotated

from torch import nn

from mimar.core.curves import CosinePower
from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import BestPath
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.mix import MaxW
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import Softmax
from mimar.gradient.schedule import Alternate, Curved
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Hundt, Andrew and Jain, Varun and Hager, Gregory D.",
    2019,
    "arXiv preprint",
    "sharpDARTS: Faster and More Accurate Differentiable Architecture Search",
    "https://arxiv.org/abs/1903.09900",
)
DIFFERS = (
    "the operations are the net's: net=sharp:… has the paper's, net=grid:… its grid of widths, whose path is derived exactly",
    "the curve is normalised at its beginning, in the released code by its first epoch",
    "no warm-up of the rate (5 of 120 epochs in the paper), the task's own augmentation",
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
    power: Annotated[float, Range(1.0, None)] = 2.0,
    through: bool = True,
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
        name="sharpdarts",
        relaxation=Softmax(),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Curved(Alternate(epochs=epochs, warmup=warmup), CosinePower(power), floor=1e-4),
        derivation=BestPath(),
        mixer=MaxW(through=through),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
