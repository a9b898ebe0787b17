"""Random search with full training: the baseline that every result has to beat.

Architectures are drawn independently from the space, each is trained from scratch by the same recipe as everything
else (or looked up in a benchmark table), and the one with the best holdout accuracy is the result.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies import Random
from mimar.tasks import Task

PAPER = Paper(
    "Li, Liam and Talwalkar, Ameet",
    2019,
    "Conference on Uncertainty in Artificial Intelligence (UAI)",
    "Random Search and Reproducibility for Neural Architecture Search",
    "https://arxiv.org/abs/1902.07638",
)
DIFFERS = ("the choice among the trained networks is made on a holdout of 20 % that none of them trained on",)
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
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="random",
        strategy=Random(),
        queries=queries,
        seconds=seconds,
        trials=trials,
        retrain=retrain,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
