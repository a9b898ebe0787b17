"""Neural Predictor: train some random architectures, let a graph network predict all others, train the best of these.

The network is cheap to ask, so that every architecture of a small space, or thousands of a large one, is ranked.
"""

from typing import Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.predictors.graph_network import GraphNetwork
from mimar.search import AskTell, Trials
from mimar.strategies.ranking import PredictAndRank
from mimar.tasks import Task

PAPER = Paper(
    "Wen, Wei and Liu, Hanxiao and Chen, Yiran and Li, Hai and Bender, Gabriel and Kindermans, Pieter-Jan",
    2020,
    "European Conference on Computer Vision (ECCV)",
    "Neural Predictor for Neural Architecture Search",
    "https://arxiv.org/abs/1912.00848",
)
DIFFERS = (
    "50 architectures are trained first, then 25 a round with a network fitted anew (there 172 and more, and one round)",
    "the network learns normal scores of ranks (target=value: accuracies), in 40 epochs at the rate 3e-3 (there 300, 1e-4)",
    "graphs lose skip-connections, zeros and dead nodes first (graph=whole keeps them)",
    "the classifier that throws out failing architectures is there where `split`, a value of what is learned, is given",
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
    graph: Literal["contracted", "whole"] = "contracted",
    epochs: Count = 40,
    lr: Positive = 3e-3,
    split: float | None = None,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="neural-predictor",
        strategy=PredictAndRank(
            predictor=GraphNetwork(epochs=epochs, lr=lr, graph=graph, split=split),
            initial=initial,
            batch=batch,
            candidates=candidates,
            target=target,
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
