"""NSGA-II: search for the front between several objectives by non-dominated sorting and crowding.

Of old and new architectures those survive that fewest dominate, and of equals those that stand apart. The result is the
front; the architecture named is its best in the first objective.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.nondominated import NonDominated
from mimar.strategies.variation import Cross
from mimar.tasks import Task

PAPER = Paper(
    "Deb, Kalyanmoy and Pratap, Amrit and Agarwal, Sameer and Meyarivan, T.",
    2002,
    "IEEE Transactions on Evolutionary Computation",
    "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II",
    "https://doi.org/10.1109/4235.996017",
)
DIFFERS = (
    "uniform crossover of decisions, and a mutation changes one of them (there bits, or real numbers)",
    "no architecture is proposed twice while another child can be found, and each is one individual",
    "20 begin and survive (there 100), as budgets of trainings are small",
    "proposals beyond the limits are made anew before they cost a query (there ranked by how far beyond they are)",
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
    population: Count = 20,
    tournament: Count = 2,
    crossover: Fraction = 0.9,
    mutation: Fraction = 0.1,
    trials: Trials = Trials(objective=("valid_accuracy", "macs")),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="nsga2",
        strategy=NonDominated(
            population=population,
            tournament=tournament,
            variation=Cross(rate=crossover, mutation=mutation),
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
