"""MOBSTER: asynchronous halving decides how long, Bayesian optimisation over (architecture, epochs) decides what.

One Gaussian process knows results at all numbers of epochs; what is still running is fantasised, so that several workers
ask without waiting for each other. The candidate of largest expected improvement at the longest training that is known
well enough is taken.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.fantasies import Fantasies
from mimar.tasks import Task

PAPER = Paper(
    "Klein, Aaron and Tiao, Louis and Lienart, Thibaut and Archambeau, Cedric and Seeger, Matthias",
    2020,
    "arXiv:2003.10865",
    "Model-based Asynchronous Hyperparameter and Neural Architecture Search",
    "https://arxiv.org/abs/2003.10865",
)
DIFFERS = (
    "the kernel of resources is Matérn's on their logarithm, with a level of its own for each resource (there also a family of exponentially decaying curves)",
    "the process learns −log(1 − accuracy), in standard units (there the metric itself); of several objectives the utility",
    "parameters of the process are the most probable ones, fitted again when an eighth more is known",
    "half of the 250 candidates are mutants of the best ten; the best candidate is taken as it is (there all are drawn at random and the best is improved by gradients)",
    "promotion is the default; kind=stop is the stopping variant of the paper",
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
    initial: Count = 6,
    candidates: Count = 250,
    fantasies: Count = 20,
    enough: Count = 3,
    most: Count = 250,
    trials: Trials = Trials(scheduler="asha", workers=4),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="mobster",
        strategy=Fantasies(initial=initial, candidates=candidates, fantasies=fantasies, enough=enough, most=most),
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
