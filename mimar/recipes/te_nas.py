"""TE-NAS: prune a supernet at initialisation by how well it can be trained and how much it can express.

Trainability is the condition number of the neural tangent kernel, expressivity the number of linear regions. In every
round each choice loses the option whose removal improves the one most and costs least of the other, by the sum of two ranks.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.proxies.patterns import LinearRegions
from mimar.evaluators.proxies.tangent import TangentCondition
from mimar.evaluators.table import Table
from mimar.search.pruning import Pruning
from mimar.tasks import Task

PAPER = Paper(
    "Chen, Wuyang and Gong, Xinyu and Wang, Zhangyang",
    2021,
    "International Conference on Learning Representations (ICLR)",
    "Neural Architecture Search on ImageNet in Four GPU Hours: A Theoretically Inspired Perspective",
    "https://arxiv.org/abs/2102.11535",
)
DIFFERS = (
    "regions are what straight ways between inputs cross in the supernet (there: patterns of tiny inputs in a thin copy)",
    "the tangent kernel is with respect to all parameters (the released code leaves biases out), on 16 samples (there 72)",
    "weights begin as torch initialises each layer (there by the fan in, from a normal distribution)",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | Table | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    batch: Batch = 16,
    repeats: Count = 3,
    points: Count = 8,
    retrain: Retrain = Retrain(),
) -> Pruning:
    return Pruning(
        name="te-nas",
        scores=(TangentCondition(), LinearRegions(points=points)),
        retrain=retrain,
        repeats=repeats,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
