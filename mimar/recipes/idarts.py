"""iDARTS: differentiable architecture search with stochastic implicit hypergradients.

T weight steps, then one implicit hypergradient at the weights as they are, the inverse Hessian a Neumann series:
    g_K = ∂L2/∂α − γ (∂²L1/∂α∂w) Σ_{j=0..K} (I − γH)^j ∂L2/∂w
Defaults: the published K = 2, γ = the weights' learning rate, T = 4, at the scale of small images.
"""

from typing import Annotated, Literal

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import Neumann
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import Softmax
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Zhang, Miao and Su, Steven and Pan, Shirui and Chang, Xiaojun and Abbasnejad, Ehsan and Haffari, Reza",
    2021,
    "International Conference on Machine Learning (ICML)",
    "iDARTS: Differentiable Architecture Search with Stochastic Implicit Gradients",
    "https://arxiv.org/abs/2106.10784",
)
DIFFERS = (
    "the hypergradient never moves the weights; the released code restores its probe along the wrong vector",
    "the T weight steps really train; in the released notebook they step a copy of the optimiser",
    "weight decay is part of the inner loss, hence of the Hessian; products are exact, not central differences",
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
    terms: Annotated[int, Range(-1)] = 2,
    step: Literal["lr", "auto"] | Positive = "lr",
    batches: Literal["shared", "fresh"] = "shared",
    damping: NonNegative = 0.0,
    curvature: Literal["hessian", "gauss-newton"] = "hessian",
    inner_steps: Count = 4,
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
        name="idarts",
        relaxation=Softmax(),
        hypergradient=Neumann(terms=terms, step=step, batches=batches, damping=damping, curvature=curvature),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Alternate(epochs=epochs, inner_steps=inner_steps, warmup=warmup),
        derivation=Strongest(),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
