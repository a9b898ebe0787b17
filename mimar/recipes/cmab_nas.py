"""CMAB-NAS: a bandit for every decision of the cell, all paid with what the whole cell is worth.

The reward of a cell is taken for the sum of what its decisions earn on average, so that few measurements say much of each.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.bandit import Bandits
from mimar.tasks import Task

PAPER = Paper(
    "Huang, Hanxun and Ma, Xingjun and Erfani, Sarah M. and Bailey, James",
    2021,
    "International Joint Conference on Neural Networks (IJCNN)",
    "Neural Architecture Search via Combinatorial Multi-Armed Bandit",
    "https://arxiv.org/abs/2101.00336",
)
DIFFERS = (
    "the bonus of an arm is multiplied by a random number, one a decision: without, all decisions change arms in step",
    "rewards are the ranks of accuracies among all so far, and ten random cells come first",
    "a cell is measured once: the best product not yet measured is taken (there shared weights change in between)",
    "epsilon-greedy naive sampling is there too: exploration=0 local=0.3 greedy=0.4",
    "under the naive assumption the order of the levels says nothing, so that nested search is one pass over the decisions",
    "the result is the best cell that was measured (there the product of the best arms)",
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
    local: Fraction = 0.0,
    greedy: Fraction = 0.0,
    exploration: NonNegative = 0.6,
    decay: Fraction = 1.0,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="cmab-nas",
        strategy=Bandits(local=local, greedy=greedy, exploration=exploration, decay=decay),
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
