"""EPNAS: progressive search that draws the cells of a stage by their predictions instead of taking the best.

While the surrogate knows little, what it underrates must have a chance; the draw is cooled as it learns.
"""

from typing import Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.predictors.sequence import Sequences
from mimar.search import AskTell, Trials
from mimar.strategies.progressive import Progressive
from mimar.tasks import Task

PAPER = Paper(
    "Perez-Rua, Juan-Manuel and Baccouche, Moez and Pateux, Stephane",
    2018,
    "British Machine Vision Conference (BMVC)",
    "Efficient Progressive Neural Architecture Search",
    "https://arxiv.org/abs/1808.00391",
)
DIFFERS = (
    "cells are measured by whatever evaluates the search: trained, looked up (there under weights that they share)",
    "the temperature is in units of predicted ranks, and its schedule a fixed factor a stage",
    "in a space of fixed size the blocks not yet decided are neutral: skip connections, else nothing, else first options",
    "the predictor is a mean of embeddings by default (there an LSTM, read=lstm), fitted anew each stage",
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
    temperature: NonNegative = 0.1,
    cooling: Positive = 0.9,
    span: Count = 1,
    read: Literal["lstm", "mean"] = "mean",
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="epnas",
        strategy=Progressive(
            beam=beam,
            temperature=temperature,
            cooling=cooling,
            span=span,
            predictor=Sequences(read=read),
            then="first",
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
