"""Small temperature: a softmax so cold that the supernet is sparse, with noise so that its gradient does not vanish.

p = softmax((α + n) / τ), small gates dropped, the rest renormalised; τ falls exponentially and follows the entropy
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import SparseNoisy
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Zhang, Jiuling and Ding, Zhiming",
    2023,
    "Pacific-Asia Conference on Knowledge Discovery and Data Mining (PAKDD)",
    "Small Temperature is All You Need for Differentiable Architecture Search",
    "https://arxiv.org/abs/2306.06855",
)
DIFFERS = (
    "after the abstract: the formulas are our reading of 'sparse-noisy softmax' and 'entropy-driven adaptation'; the entropy's aim (1 to 0.1) and the limit of the factor (100) are the part's",
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
    start: Positive = 1.0,
    end: Positive = 0.05,
    noise: NonNegative = 1.0,
    threshold: Fraction = 0.02,
    gain: NonNegative = 0.1,
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
        name="small-temperature",
        relaxation=SparseNoisy(start=start, end=end, noise=noise, threshold=threshold, gain=gain),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
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
