"""Where populations begin."""

from __future__ import annotations

from collections import Counter
from typing import Any

from scipy.stats import chisquare

from mimar import space
from mimar.core.streams import Draws
from mimar.space import Choice, Space
from mimar.strategies import Evolution
from mimar.strategies.initial import Diversified, Sampled
from mimar.testing import check_strategy

CELLS = space.nasbench201()


def test_a_sample_is_the_spaces_own() -> None:
    assert Sampled()(CELLS, Draws(0, "x")) == CELLS.sample(Draws(0, "x"))


def test_without_mutations_it_is_the_trivial_architecture() -> None:
    first = CELLS.complete({}, Choice.first)
    assert Diversified(mutations=0)(CELLS, Draws(0, "x")) == first
    one = Diversified(mutations=1)(CELLS, Draws(0, "x"))
    assert sum(one[n] != first[n] for n in first) == 1


def test_many_mutations_forget_the_beginning() -> None:
    """A walk over the graph of all architectures by uniform mutations is uniform in the end: of 3 · 3 here."""
    small = Space([Choice("a", (0, 1, 2)), Choice("b", (0, 1, 2))])
    draws = Draws(0, "walk")
    counts = Counter(Diversified(mutations=20)(small, draws) for _ in range(900))
    assert len(counts) == 9 and chisquare(list(counts.values())).pvalue > 1e-3


def test_where_the_trivial_one_is_forbidden_a_sample_stands_for_it() -> None:
    def some(arch: Any) -> bool:
        return any(o != "none" for o in arch.values())

    where = Space(CELLS.choices, [some])
    assert some(Diversified(mutations=0)(where, Draws(0, "x")))


def test_evolution_begins_with_it() -> None:
    part = Evolution(population=5, sample=2, initial=Diversified(mutations=1))
    first = CELLS.complete({}, Choice.first)
    proposals = part.start(CELLS, 0).ask(5)
    assert all(sum(p.architecture[n] != first[n] for n in first) == 1 for p in proposals)
    check_strategy(Evolution(population=3, sample=0.5, death="none", initial=Diversified(mutations=5)))
