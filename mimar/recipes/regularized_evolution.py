"""Regularised evolution: tournaments in a population from which the oldest dies, however good it is.

Ageing keeps an architecture in the population only if it stays good whenever it is measured again as a child of its
children, so that luck in one noisy measurement does not last.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies import Evolution, Mutate
from mimar.tasks import Task

PAPER = Paper(
    "Real, Esteban and Aggarwal, Alok and Huang, Yanping and Le, Quoc V.",
    2019,
    "AAAI Conference on Artificial Intelligence",
    "Regularized Evolution for Image Classifier Architecture Search",
    "https://arxiv.org/abs/1802.01548",
)
DIFFERS = (
    "30 live and 10 take part in a tournament (there 100 and 25 over 20,000 trainings), as is usual on small benchmarks",
    "a mutation always changes one decision (there the identity has a chance of 5 % in the NASNet space)",
)
TIER = "table"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | Table | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    queries: Count | None = None,
    seconds: Positive | None = None,
    population: Count = 30,
    sample: Count = 10,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="regularized-evolution",
        strategy=Evolution(population=population, sample=sample, death="oldest", variation=Mutate()),
        retrain=retrain,
        queries=queries,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
        seconds=seconds,
        trials=trials,
    )
