"""SDARTS-RS: first-order DARTS whose weights learn under gates with uniform noise.

w descends L1(w, clip(p + ε·U(−1, 1), 0, 1)) with growing ε, α descends L2(w, p), p = softmax(α): flat minima in α.
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import Perturbed, Softmax
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Chen, Xiangning and Hsieh, Cho-Jui",
    2020,
    "International Conference on Machine Learning (ICML)",
    "Stabilizing Differentiable Architecture Search via Perturbation-based Regularization",
    "https://arxiv.org/abs/2002.05283",
)
DIFFERS = (
    "the width of the noise grows at every step, in the released code once an epoch",
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
    radius: Fraction = 0.3,
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
        name="sdarts-rs",
        relaxation=Perturbed(Softmax(), radius=radius),
        hypergradient=FirstOrder(),
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
