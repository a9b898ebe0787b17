"""DARTS-PRIME: gates that do not compete, alpha steps when the weights are ready, a pull towards one architecture.

p = clamp(α, 0, 1);   an alpha step where ‖∇_w L1‖² < θ;   outer loss + t/T · ρ/2 ‖p − disc(p)‖, or ADMM's penalty
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import Admm, AlphaDecay, Proximity, WeightDecay
from mimar.gradient.relax import Box, Softmax
from mimar.gradient.schedule import GradientGated
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Maile, Kaitlin and Lecarpentier, Erwan and Luga, Hervé and Wilson, Dennis G.",
    2021,
    "arXiv preprint",
    "DARTS-PRIME: Regularization and Scheduling Improve Constrained Optimization in Differentiable NAS",
    "https://arxiv.org/abs/2106.11655",
)
DIFFERS = (
    "the dual variable of ADMM follows the gates, in the released code the raw alphas",
    "an alpha step follows two weight steps without one, ten in the paper; θ begins at the first ‖∇L1‖², there at 1",
    "alphas stay at most 1 and one option of a choice always lives; no batch norm after a node's sum",
    "the halves of the data stay equal; the paper gives the validation half 1 / (1 + frequency)",
    "the alphas' rate is max(alpha_lr, travel / outer steps): gates in [0, 1] have 1 to travel, softmax's want 10",
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
    proximity: NonNegative = 0.1,
    admm: NonNegative = 0.0,
    frequency: Positive = 2.0,
    free: bool = True,
    travel: NonNegative = 1.0,
    epochs: Count = 20,
    warmup: Whole = 0,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    alpha_lr: Positive = 3e-4,
    alpha_decay: NonNegative = 1e-3,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="darts-prime",
        relaxation=Box() if free else Softmax(),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay), Proximity(proximity), Admm(admm)),
        schedule=GradientGated(epochs=epochs, frequency=frequency, warmup=warmup),
        derivation=Strongest(),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
