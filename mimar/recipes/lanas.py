"""LaNAS: a tree of linear models splits the space into good and bad regions, and a bandit chooses the region to look in.

The actions of the search are learned with it: each split puts to one side what is predicted above the mean.
"""

from typing import Annotated, Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, NonNegative, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.partition_tree import PartitionTree
from mimar.tasks import Task

PAPER = Paper(
    "Wang, Linnan and Xie, Saining and Li, Teng and Fonseca, Rodrigo and Tian, Yuandong",
    2021,
    "IEEE Transactions on Pattern Analysis and Machine Intelligence",
    "Sample-Efficient Neural Architecture Search by Learning Actions for Monte Carlo Tree Search",
    "https://arxiv.org/abs/1906.06832",
)
DIFFERS = (
    "the linear models are solved by ridge least squares (there 20,000 epochs of Adam), anew for each tree",
    "they learn the ranks of accuracies, and worth is counted in ranks: far better on NAS-Bench-201; scale=value is the paper's",
    "samples, too, are put to the side on which they are predicted (there by their accuracy), so that regions are disjoint",
    "every architecture is measured once, and a region in which nothing is left is not entered",
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
    height: Annotated[int, Range(1, 10)] = 5,
    exploration: NonNegative = 0.1,
    initial: Count = 10,
    refit: Count = 20,
    scale: Literal["rank", "value"] = "rank",
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="lanas",
        strategy=PartitionTree(height=height, exploration=exploration, initial=initial, refit=refit, scale=scale),
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
