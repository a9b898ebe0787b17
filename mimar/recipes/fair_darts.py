"""Fair DARTS: every operation has a gate of its own, pushed to 0 or 1.

p = σ(α) for each option;   outer loss − w₀₁ · mean (p − ½)²;   derived by a threshold on p
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Threshold
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import AlphaDecay, WeightDecay, ZeroOne
from mimar.gradient.relax import Sigmoid
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Chu, Xiangxiang and Zhou, Tianbao and Zhang, Bo and Li, Jixiang",
    2020,
    "European Conference on Computer Vision (ECCV)",
    "Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture Search",
    "https://arxiv.org/abs/1911.12126",
)
DIFFERS = (
    "one option an edge: the strongest above the threshold, none where it may be none and no gate passes; the paper allows several",
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
    zero_one: NonNegative = 10.0,
    threshold: Fraction = 0.85,
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
        name="fair-darts",
        relaxation=Sigmoid(),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay), ZeroOne(zero_one)),
        schedule=Alternate(epochs=epochs, inner_steps=1, warmup=warmup),
        derivation=Threshold(threshold),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
