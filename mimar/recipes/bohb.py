"""BOHB: Hyperband decides how long, a pair of density estimates decides what.

Where enough is known, candidates are drawn near the best 15 % of the longest trainings and the one that is likeliest to
be one of them rather than of the rest is taken; a third stays random. Architecture and hyper-parameters are one space.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.density import DensityRatio
from mimar.tasks import Task

PAPER = Paper(
    "Zela, Arber and Klein, Aaron and Falkner, Stefan and Hutter, Frank",
    2018,
    "ICML Workshop on Automated Machine Learning",
    "Towards Automated Deep Learning: Efficient Joint Neural Architecture and Hyperparameter Search",
    "https://arxiv.org/abs/1807.06906",
)
DIFFERS = (
    "budgets are the evaluator's fidelities, as numbers of epochs, rather than minutes of training",
    "draws that were measured or are pending are passed over unless repeat is true (the released code repeats them: more than half of all proposals on a small discrete space)",
    "the bandwidth of options is that of their Gini variance, whatever their order, and at most uniform (there the standard deviation of their numbers); the density counts decoded candidates",
    "a choice that is inactive is averaged out (there it is imputed at random)",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | Table | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    queries: Count | None = None,
    seconds: Positive | None = None,
    top: Fraction = 0.15,
    samples: Count = 64,
    random: Fraction = 1 / 3,
    bandwidth: Positive = 1e-3,
    points: Count | None = None,
    repeat: bool = False,
    trials: Trials = Trials(scheduler="hyperband"),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="bohb",
        strategy=DensityRatio(top, samples, random, bandwidth=bandwidth, points=points, repeat=repeat),
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
