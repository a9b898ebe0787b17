"""DARTS, second order: alphas follow the validation loss after one look-ahead step of the weights.

w' = w − ξ ∇_w L1(w, α),   g = ∂L2(w', α)/∂α − ξ (∂²L1/∂α∂w) ∇_w' L2(w', α),   ξ = the weights' learning rate
"""

from typing import Literal

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
    "Liu, Hanxiao and Simonyan, Karen and Yang, Yiming",
    2019,
    "International Conference on Learning Representations (ICLR)",
    "DARTS: Differentiable Architecture Search",
    "https://arxiv.org/abs/1806.09055",
)
DIFFERS = (
    "the mixed product is exact by default; mixed='difference' is the paper's central difference, ε = 0.01/‖v‖",
    "the look-ahead step is a plain gradient step: no momentum and no clipping (the released code has momentum in w' only)",
    "batch-norm statistics do not move during the hypergradient; in the released code its passes move them",
    "the weight step comes before the alpha step of the same iteration; in the released code after it",
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
    mixed: Literal["exact", "difference"] = "exact",
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
        name="darts-2nd",
        relaxation=Softmax(),
        hypergradient=Unrolled(steps=1, mixed=mixed),
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
