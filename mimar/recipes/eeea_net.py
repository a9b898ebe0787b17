"""EEEA-Net: multi-objective evolution whose first population is drawn below a cap on the size of the final network.

The early exit: a beginner above the cap (`trials.limits`) is drawn again before it is trained. A child above it later
is lost to its generation. Few survive (`retain`), and every child has two parents.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.nondominated import NonDominated
from mimar.strategies.variation import Cross, Inversion
from mimar.tasks import Task

PAPER = Paper(
    "Termritthikun, Chakkrit and Jamtsho, Yeshi and Ieamsaard, Jirarat and Muneesawang, Paisarn and Lee, Ivan",
    2021,
    "Engineering Applications of Artificial Intelligence",
    "EEEA-Net: An Early Exit Evolutionary Neural Architecture Search",
    "https://arxiv.org/abs/2108.06156",
)
DIFFERS = (
    "an inversion exchanges two successive decisions (the released code copies the second onto the first)",
    "all objectives count for dominance (the released code compares the first two); the time of an epoch is none of them",
    "a child above the cap costs nothing (there it takes part with an accuracy of 0)",
    "a mutation changes one decision (there an operation and its input); training is that of `retrain` (there one epoch)",
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
    population: Count = 40,
    retain: Fraction = 0.1,
    mutation: Fraction = 0.1,
    inversion: Fraction = 0.1,
    trials: Trials = Trials(
        objective=("valid_accuracy", "params", "macs"), limits=("params<=5000000",), duplicates="free"
    ),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="eeea-net",
        strategy=NonDominated(
            population=population,
            parents=max(round(retain * population), 1),
            children=max(population - round(retain * population), 1),
            tournament=0.5,
            variation=Inversion(Cross(rate=1.0, mutation=mutation), rate=inversion),
            beyond="drop",
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
