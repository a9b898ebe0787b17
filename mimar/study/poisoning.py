"""How much strategies lose when a space is poisoned: copies of a useless option outnumber the good ones.

Every strategy runs on the clean space and on spaces with ever more copies, under the same seeds and number of queries; an
evaluator of the clean space answers for all of them. Two guards are measured by the same figures: "merged" merges options
that are the same before the search, "canonical" answers what was measured in another spelling from memory, for free.
`python -m mimar.study.poison_page` measures recipes on a benchmark table and writes the page.
Wu, Saxena and Jain, "Poisoning the search space in neural architecture search", 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from mimar.core.errors import UsageError
from mimar.evaluators.mapped import Mapped
from mimar.evaluators.parts import Evaluator
from mimar.objectives import Best
from mimar.schedulers import Asynchronous
from mimar.search.session import Session, Terms, best
from mimar.space import Space
from mimar.space.transforms import Image, Merge, Poison, chain
from mimar.strategies import Strategy

Guard = Literal["none", "canonical", "merged"]
GUARDS: tuple[Guard, ...] = ("none", "canonical", "merged")
COPIES = (0, 1, 5, 25)


class Row(NamedTuple):
    """One strategy on one space, run by run, as fractions where the evaluator's figures are.

    `tests`: the verdicts on the best measured architecture; `means`: of all that the strategy measured.
    """

    strategy: str
    copies: int
    guard: Guard
    tests: tuple[float, ...]
    means: tuple[float, ...]

    @property
    def runs(self) -> int:
        """How often the search was run."""
        return len(self.tests)

    @property
    def test(self) -> float:
        """The mean verdict."""
        return fmean(self.tests)

    @property
    def sampled(self) -> float:
        """The mean of everything measured."""
        return fmean(self.means)


def poisoned(space: Space, option: str, copies: int, guard: Guard = "none") -> Image:
    """Return the image of a space with copies of an option, none for 0; under a guard the space knows what is the same.

    Raises UsageError for an unknown guard, and for one where the space knows of no architectures that are the same.
    """
    if guard not in GUARDS:
        raise UsageError(f"guard is {guard!r}; it must be one of {', '.join(GUARDS)}")
    if guard != "none" and space.structure is None:
        raise UsageError(
            f"the guard {guard!r} needs a space that knows which architectures are the same; this one does not"
        )
    steps = [Poison(option, copies, known=guard != "none")] if copies else []
    return chain(space, [*steps, *([Merge()] if guard == "merged" else [])])


def measure(
    evaluator: Evaluator,
    strategies: Mapping[str, Strategy],
    *,
    option: str = "none",
    copies: Sequence[int] = COPIES,
    guard: Guard = "none",
    queries: int = 150,
    runs: int = 30,
) -> list[Row]:
    """Return a row for every strategy and number of copies; run r has the seed r everywhere.

    Raises UsageError without runs, and SpaceError where no choice of the space has the option.
    """
    if runs < 1 or queries < 1:
        raise UsageError(f"poisoning is measured by at least one run of one query, not {runs} of {queries}")
    found = []
    for n in copies:
        there = Mapped.of(evaluator, poisoned(evaluator.space, option, n, guard))
        for name, strategy in strategies.items():
            pairs = [_run(there, strategy, seed, queries, guard == "canonical") for seed in range(runs)]
            tests, means = zip(*pairs, strict=True)
            found.append(Row(name, n, guard, tests, means))
    return found


def losses(rows: Sequence[Row]) -> dict[tuple[str, int], tuple[float, float]]:
    """Return (test, sampled) lost against the clean space, by strategy and copies; the rows hold 0 copies of each strategy."""
    clean = {row.strategy: row for row in rows if row.copies == 0}
    pairs = [(row, clean[row.strategy]) for row in rows]
    return {(row.strategy, row.copies): (c.test - row.test, c.sampled - row.sampled) for row, c in pairs}


def _run(evaluator: Mapped, strategy: Strategy, seed: int, queries: int, free: bool) -> tuple[float, float]:
    """Return the test figure of the best of a search, and the mean of what it measured."""
    terms = Terms(evaluator, Best(), queries=queries, seed=seed, free_duplicates=free)
    session = Session(terms, strategy.start(evaluator.space, seed), Asynchronous().start((), seed))
    while session.step() is not None:
        pass
    top = best(session.trials)
    values = [t.values[0] for t in session.trials if t.values]
    if top is None:
        return math.nan, math.nan
    verdict = evaluator.verdict(top.architecture)
    name = f"test_{evaluator.measures[0].name.removeprefix('valid_')}"
    return verdict.get(name, next(iter(verdict.values()), top.values[0])), math.fsum(values) / len(values)
