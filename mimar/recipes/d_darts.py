"""D-DARTS: every cell has its own architecture, gates that do not compete, and a term for what it contributes.

p = σ(α);  outer loss − w₀₁ mean (p − ½)² − w_ab Σ_c (M_c − M̄)/M̄, M_c = what the loss gains from cell c
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Threshold
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import Ablation, AlphaDecay, WeightDecay, ZeroOne
from mimar.gradient.relax import Sigmoid
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.nets.remodel import Nested
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Heuillet, Alexandre and Tabia, Hedi and Arioui, Hichem and Youcef-Toumi, Kamal",
    2021,
    "arXiv preprint",
    "D-DARTS: Distributed Differentiable Architecture Search",
    "https://arxiv.org/abs/2108.09306",
)
DIFFERS = (
    "one option an edge, the paper's cells may have several; no deeper networks from repeated cells",
    "the ablation term has a gradient, of each cell's own alphas, in the released code none; it divides by max(|M̄|, 0.1)",
    "a bypassed cell takes the skip on all its edges, which sum up to a multiple of its input",
    "the 0-1 term is a mean over all gates, in the paper over each cell's",
    "lr 0.025 and alpha_lr 3e-4; in the release 0.005 and 3e-3, times 0.9 each epoch",
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
    zero_one: NonNegative = 9.0,
    ablation: NonNegative = 0.7,
    threshold: Fraction = 0.85,
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
        name="d-darts",
        relaxation=Sigmoid(),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay), ZeroOne(zero_one), Ablation(ablation)),
        schedule=Alternate(epochs=epochs, inner_steps=1),
        derivation=Threshold(threshold),
        remodel=Nested(),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
