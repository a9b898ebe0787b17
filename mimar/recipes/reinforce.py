"""REINFORCE on independent decisions: options that paid more than usual become more probable.

The plain policy gradient: one table of logits, a moving average to compare with, Adam.
"""

from typing import Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.ascent import Baseline
from mimar.strategies.policies import Factorised
from mimar.strategies.reinforce import Reinforce
from mimar.tasks import Task

PAPER = Paper(
    "Williams, Ronald J.",
    1992,
    "Machine Learning 8",
    "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning",
    "https://doi.org/10.1007/BF00992696",
)
DIFFERS = (
    "the settings are those of the baseline of NAS-Bench-201 (Dong and Yang, 2020), and Adam takes the steps",
    "the average takes a reward in before it is subtracted, as that code does; update=after is the unbiased form",
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
    lr: Positive = 0.01,
    momentum: Fraction = 0.9,
    update: Literal["before", "after"] = "before",
    batch: Count = 1,
    entropy: NonNegative = 0.0,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="reinforce",
        strategy=Reinforce(
            policy=Factorised(),
            lr=lr,
            batch=batch,
            baseline=Baseline(momentum=momentum, update=update),
            entropy=entropy,
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
