"""DrNAS: gates are drawn from a Dirichlet distribution whose concentration is learned.

p ~ Dirichlet(elu(α) + 1), gradients through the sample;   outer loss + λ ‖elu(α) + 1 − 1‖
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import AlphaDecay, Concentration, WeightDecay
from mimar.gradient.relax import Dirichlet
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Chen, Xiangning and Wang, Ruochen and Cheng, Minhao and Tang, Xiaocheng and Hsieh, Cho-Jui",
    2021,
    "International Conference on Learning Representations (ICLR)",
    "DrNAS: Dirichlet Neural Architecture Search",
    "https://arxiv.org/abs/2006.10355",
)
DIFFERS = (
    "without the progressive scheme (partial channels that grow, options that are pruned)",
    "the form of the anchor is recalled; there is no alpha decay beside it",
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
    anchor: NonNegative = 1e-3,
    alpha_decay: NonNegative = 0.0,
    epochs: Count = 20,
    warmup: Whole = 0,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    alpha_lr: Positive = 3e-4,
    travel: NonNegative = 10.0,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="drnas",
        relaxation=Dirichlet(),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay), Concentration(anchor)),
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
