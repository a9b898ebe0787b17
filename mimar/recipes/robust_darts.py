"""R-DARTS: second-order DARTS at several levels of weight decay; the best found network is kept.

for each level: w descends L1(w, p) + ½ · decay · 3^level · ‖w‖²; all derived networks are retrained, the holdout decides
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
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel, Levels
from mimar.tasks import Task

PAPER = Paper(
    "Zela, Arber and Elsken, Thomas and Saikia, Tonmoy and Marrakchi, Yassine and Brox, Thomas and Hutter, Frank",
    2020,
    "International Conference on Learning Representations (ICLR)",
    "Understanding and Robustifying Differentiable Architecture Search",
    "https://arxiv.org/abs/1909.09656",
)
DIFFERS = (
    "the levels are of weight decay, 1, 3, 9 and 27 times `decay`; the paper has the same for drop path",
    "the holdout decides after retraining alike",
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
    levels: Annotated[int, Range(1, 5)] = 4,
    epochs: Count = 20,
    warmup: Whole = 0,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    alpha_lr: Positive = 3e-4,
    alpha_decay: NonNegative = 1e-3,
    travel: NonNegative = 10.0,
    retrain: Retrain = Retrain(),
) -> Levels:
    return Levels(
        name="robust-darts",
        searches=tuple(
            Bilevel(
                name="robust-darts",
                relaxation=Softmax(),
                hypergradient=Unrolled(steps=1),
                inner=Sgd(lr=lr),
                outer=Adam(lr=alpha_lr, travel=travel),
                terms=(WeightDecay(decay * 3.0**level), AlphaDecay(alpha_decay)),
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
            for level in range(levels)
        ),
    )
