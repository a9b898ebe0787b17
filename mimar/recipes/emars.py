"""EMARS: evolution by what individuals reach and by how they improve.

Every generation measures its parents again; the second objective is the slope of an individual's values so far, so that
one that still improves survives one that has stopped. The result is the best in the last value.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.objectives import Potential
from mimar.search import AskTell, Trials
from mimar.strategies.nondominated import NonDominated
from mimar.strategies.variation import Cross
from mimar.tasks import Task

PAPER = Paper(
    "He, Xin and Ying, Guohao and Zhang, Jiyong and Chu, Xiaowen",
    2022,
    "International Conference on Medical Image Computing and Computer-Assisted Intervention (MICCAI)",
    "Evolutionary Multi-objective Architecture Search Framework: Application to COVID-19 3D CT Classification",
    "https://arxiv.org/abs/2101.10667",
)
DIFFERS = (
    "figures of one individual move only by the noise of what evaluates (there by shared weights that train on between)",
    "the numbers (8 live, crossover 0.9, mutation 0.1) are of this library, as none were at hand",
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
    population: Count = 8,
    tournament: Count = 2,
    crossover: Fraction = 0.9,
    mutation: Fraction = 0.1,
    trials: Trials = Trials(objective=Potential()),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="emars",
        strategy=NonDominated(
            population=population,
            tournament=tournament,
            variation=Cross(rate=crossover, mutation=mutation),
            again=True,
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
