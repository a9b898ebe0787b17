"""TabNAS: architectures over the limit are drawn again, and the policy gradient is corrected for it.

A proposal then has the law P(a) / P(V), V the architectures within the limits; its gradient needs that of log P(V),
which is estimated by drawing.
"""

from typing import Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.ascent import Baseline
from mimar.strategies.policies import Factorised
from mimar.strategies.reinforce import Reinforce
from mimar.strategies.rejection import Rejection
from mimar.tasks import Task

PAPER = Paper(
    "Yang, Chengrun and Bender, Gabriel and Liu, Hanxiao and Kindermans, Pieter-Jan and Udell, Madeleine "
    "and Lu, Yifeng and Le, Quoc V. and Huang, Da",
    2022,
    "Advances in Neural Information Processing Systems (NeurIPS)",
    "TabNAS: Rejection Sampling for Neural Architecture Search on Tabular Datasets",
    "https://arxiv.org/abs/2204.07615",
)
DIFFERS = (
    "every network is trained by itself or looked up (there one set of shared weights with a warm-up of layers)",
    "log P(V) has the gradient of the fraction of draws in V; correction=mass is the sum of the released example",
    "trials.limits are learned from refusals, one architecture at a time; constraints of the space are known",
    "the result is the best measured architecture; the searcher's `answer` reads it off the conditional law",
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
    lr: Positive = 0.1,
    momentum: Fraction = 0.9,
    correction: Literal["fraction", "mass", "exact", "none"] = "fraction",
    samples: Count = 5,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="tabnas",
        strategy=Reinforce(
            policy=Factorised(spread=0.0),
            lr=lr,
            baseline=Baseline(momentum=momentum, update="before"),
            rejection=Rejection(correction=correction, samples=samples),
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
