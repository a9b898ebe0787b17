"""Differential evolution: the population lives in the unit cube and moves by differences between its members.

Architectures are read off the points and never written back, so that a population keeps directions that its
architectures do not show. Slow to begin, and hard to beat in long searches.
"""

from typing import Annotated

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.differential import DifferentialEvolution
from mimar.tasks import Task

PAPER = Paper(
    "Awad, Noor and Mallik, Neeratyoy and Hutter, Frank",
    2020,
    "ICLR Workshop on Neural Architecture Search",
    "Differential Evolution for Neural Architecture Search",
    "https://arxiv.org/abs/2012.06400",
)
DIFFERS = (
    "the three members of a mutant are other than the parent (the released code may draw the parent, too)",
    "whole numbers are equal shares of the interval, as categories are (there they are rounded)",
    "limits on known costs are asked first: a child beyond them is lost, and its parent stays",
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
    population: Annotated[int, Range(4)] = 20,
    factor: Annotated[float, Range(0.0, 2.0)] = 0.5,
    crossover: Fraction = 0.5,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="differential-evolution",
        strategy=DifferentialEvolution(population=population, factor=factor, crossover=crossover),
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
