"""Evolution without death: tournaments of a twentieth of a growing population, from a much mutated trivial beginning.

Made for cells whose motifs are made of motifs (`mimar.space.hierarchy`), where one mutation changes a motif wherever it
is used; on any other space it is plain tournament evolution.
"""

from typing import Annotated

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies import Evolution, Mutate
from mimar.strategies.initial import Diversified
from mimar.tasks import Task

PAPER = Paper(
    "Liu, Hanxiao and Simonyan, Karen and Vinyals, Oriol and Fernando, Chrisantha and Kavukcuoglu, Koray",
    2018,
    "International Conference on Learning Representations (ICLR)",
    "Hierarchical Representations for Efficient Architecture Search",
    "https://arxiv.org/abs/1711.00436",
)
DIFFERS = (
    "40 begin (there 200, of 7,000 evaluations); at least one takes part in a tournament",
    "a network is trained once by what evaluates (there its fitness is the mean of four trainings)",
    "the trivial beginning has every choice at its first option: chains of the first primitive where motifs are searched",
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
    population: Count = 40,
    sample: Annotated[float, Range(0.0, open_low=True)] = 0.05,
    mutations: Whole = 1000,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="hierarchical-evolution",
        strategy=Evolution(
            population=population,
            sample=sample,
            death="none",
            variation=Mutate(),
            initial=Diversified(mutations=mutations),
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
