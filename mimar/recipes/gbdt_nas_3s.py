"""GBDT-NAS-3S: GBDT-NAS that also prunes the space: options that the trees find harmful are no longer proposed.

An option is worth its mean SHAP value over the architectures that take it; after each round the worst ones leave.
"""

from typing import Annotated, Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.predictors.boosted import BoostedTrees
from mimar.search import AskTell, Trials
from mimar.strategies.ranking import PredictAndRank
from mimar.tasks import Task

PAPER = Paper(
    "Luo, Renqian and Tan, Xu and Wang, Rui and Qin, Tao and Chen, Enhong and Liu, Tie-Yan",
    2020,
    "arXiv",
    "Accuracy Prediction with Non-neural Model for Neural Architecture Search",
    "https://arxiv.org/abs/2007.04785",
)
DIFFERS = (
    "50 architectures are trained first, then 25 a round (there 1,000 and 1,000 or 300)",
    "the trees learn normal scores of ranks (target=value: accuracies), with fewer rows a leaf below 200 architectures",
    "4 options a round are pruned (there 20 of 147), each by itself: the second order, by pairs, is not there",
    "options without a negative effect stay and do not count as pruned, and every choice keeps one (there they count)",
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
    initial: Count = 50,
    batch: Count = 25,
    candidates: Count = 20_000,
    target: Literal["rank", "log-error", "value"] = "rank",
    rounds: Count = 100,
    lr: Positive = 0.05,
    leaves: Annotated[int, Range(2)] = 31,
    prune: Count = 4,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="gbdt-nas-3s",
        strategy=PredictAndRank(
            predictor=BoostedTrees(rounds=rounds, lr=lr, leaves=leaves),
            initial=initial,
            batch=batch,
            candidates=candidates,
            target=target,
            prune=prune,
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
