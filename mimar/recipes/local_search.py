"""Local search: go to a better neighbour until there is none, then begin anew elsewhere.

Simple, without parameters, and hard to beat on small benchmarks: it stands in every comparison beside random search.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies import LocalSearch
from mimar.tasks import Task

PAPER = Paper(
    "White, Colin and Nolen, Sam and Savani, Yash",
    2021,
    "Conference on Uncertainty in Artificial Intelligence (UAI)",
    "Exploring the Loss Landscape in Neural Architecture Search",
    "https://arxiv.org/abs/2005.02960",
)
DIFFERS = (
    "the first better neighbour is taken (a variant of the paper; its plain form measures all of them and takes the best)",
    "at a local optimum it begins anew at random, with no end but the budget's",
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
    starts: Count = 1,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="local-search",
        strategy=LocalSearch(starts=starts),
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
