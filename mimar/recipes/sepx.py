"""Shortest-edit-path crossover: regularised evolution in which every second child lies between two parents.

Parents are compared as graphs, whatever their nodes are called, and the child goes part of the shortest way from one to
the other: what both have stays, and no numbering can scramble it.
"""

from typing import Annotated

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies import Evolution, Mutate
from mimar.strategies.variation import Alternate, EditPath
from mimar.tasks import Task

PAPER = Paper(
    "Qiu, Xin and Miikkulainen, Risto",
    2023,
    "Advances in Neural Information Processing Systems",
    "Shortest Edit Path Crossover: A Theory-driven Solution to the Permutation Problem in Evolutionary Neural Architecture Search",
    "https://arxiv.org/abs/2210.14016",
)
DIFFERS = (
    "30 live and 10 take part in a tournament (there 100 and 10), as is usual on small benchmarks",
    "where 50 children in a row are invalid or the network of a parent, the parent is mutated (there the turn passes)",
    "inputs and outputs are matched to their likes alone (there at a cost of 100; in cells of two inputs freely)",
    "the edits of several cells are drawn together (there half of those of each)",
    "spaces without a small graph are edited decision by decision",
)
TIER = "toy"


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
    rate: Annotated[float, Range(0.0, 1.0, open_low=True)] = 0.5,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="sepx",
        strategy=Evolution(
            population=population,
            sample=sample,
            death="oldest",
            variation=Alternate((Mutate(), EditPath(rate=rate))),
        ),
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
