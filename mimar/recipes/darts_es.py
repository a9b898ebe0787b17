"""DARTS-ES: stop when the curvature of the validation loss in the alphas begins to rise.

λ = dominant eigenvalue of ∂²L2/∂α²; stop once its local mean exceeds `threshold` times that of some epochs earlier
"""

from typing import Annotated

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import Unrolled
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import Softmax
from mimar.gradient.schedule import Alternate, Rising, Until
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Zela, Arber and Elsken, Thomas and Saikia, Tonmoy and Marrakchi, Yassine and Brox, Thomas and Hutter, Frank",
    2020,
    "International Conference on Learning Representations (ICLR)",
    "Understanding and Robustifying Differentiable Architecture Search",
    "https://arxiv.org/abs/1909.09656",
)
DIFFERS = (
    "the rule of the released code (ratio above 1.3); the paper's text has its inverse, 0.75",
    "windows are counted in epochs, in the released code in measurements; 4, 2, 4 and every epoch of 20, there 10, 4, 8 and every other of 50",
    "decays are losses; the look-ahead is a plain gradient step, after the weight step of the same iteration",
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
    threshold: Annotated[float, Range(1.0, None)] = 1.3,
    every: Count = 1,
    first: Count = 4,
    around: Whole = 2,
    back: Count = 4,
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
        name="darts-es",
        relaxation=Softmax(),
        hypergradient=Unrolled(steps=1),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Until(
            Alternate(epochs=epochs, warmup=warmup),
            Rising(threshold=threshold, every=every, first=first, around=around, back=back),
        ),
        derivation=Strongest(),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
