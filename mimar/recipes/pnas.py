"""PNAS: measure the smallest cells, learn to predict, extend the best by one block, measure those predicted best, repeat.

A beam search from simple to complex, steered by a surrogate that reads cells larger than those it has learned from.
"""

from typing import Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.predictors.sequence import Sequences
from mimar.search import AskTell, Trials
from mimar.strategies.progressive import Progressive
from mimar.tasks import Task

PAPER = Paper(
    "Liu, Chenxi and Zoph, Barret and Neumann, Maxim and Shlens, Jonathon and Hua, Wei and Li, Li-Jia and Fei-Fei, Li and Yuille, Alan and Huang, Jonathan and Murphy, Kevin",
    2018,
    "European Conference on Computer Vision (ECCV)",
    "Progressive Neural Architecture Search",
    "https://arxiv.org/abs/1712.00559",
)
DIFFERS = (
    "20 cells a stage (there 256), and 32 units in the predictor (there 100), which learns ranks and is fitted anew each stage",
    "in a space of fixed size the blocks not yet decided are neutral: skip connections, else nothing, else first options",
    "a block is a decision with all that is conditional on it; span=4 makes the blocks of its own space, mimar.space.pairs",
    "the best 20 of a stage are extended, smaller cells that are good enough among them; after the last stage its next best follow",
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
    beam: Count = 20,
    span: Count = 1,
    read: Literal["lstm", "mean"] = "mean",
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="pnas",
        strategy=Progressive(beam=beam, span=span, predictor=Sequences(read=read), then="last"),
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
