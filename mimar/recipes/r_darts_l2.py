"""R-DARTS (L2): second-order DARTS with a stronger weight decay, 27 times the usual one.

w descends L1(w, p) + ½ · decay · ‖w‖²; a flatter inner problem keeps the outer one flat in α
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import Unrolled
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import Softmax
from mimar.gradient.schedule import Alternate
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
    "one level of decay; robust-darts takes the best of several",
    "the look-ahead is a plain gradient step, after the weight step of the same iteration",
    "the alphas' rate is max(alpha_lr, travel / outer steps), so that gates move in short searches; travel=0: the paper's",
    "weight decay and alpha decay are losses, not options of the optimisers, so that the unrolled step sees them",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    decay: NonNegative = 8.1e-3,
    epochs: Count = 20,
    warmup: Whole = 0,
    batch: Batch = 32,
    lr: Positive = 0.025,
    alpha_lr: Positive = 3e-4,
    alpha_decay: NonNegative = 1e-3,
    travel: NonNegative = 10.0,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="r-darts-l2",
        relaxation=Softmax(),
        hypergradient=Unrolled(steps=1),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
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
