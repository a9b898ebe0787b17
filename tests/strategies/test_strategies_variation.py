"""How children are made: inversion, turns, and the way along a shortest edit path."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from mimar import space
from mimar.core.errors import UsageError
from mimar.core.streams import Draws
from mimar.space import Choice, Space
from mimar.space.dag import dag
from mimar.space.sketch import edit_distance
from mimar.strategies import Cross, Evolution, Measurement, Mutate, Trial
from mimar.strategies.past import Known
from mimar.strategies.variation import Alternate, EditPath, Inversion
from mimar.testing import check_strategy
from mimar.testing.strategy import small_space

CELLS = space.nasbench201()


def known(where: Space, seed: int) -> Known:
    return Known(where.sample(Draws(seed, "known")), (0.5,))


class Same:
    """A variation that leaves the parent as it is."""

    def __call__(self, where: Space, parent: Known, other: Any, number: int, draws: Draws) -> Any:
        return parent.architecture, {"number": number}


def test_inversion_exchanges_two_successive_decisions() -> None:
    digits = Space([*(Choice(f"a{i}", (0, 1, 2, 3)) for i in range(4)), Choice("apart", ("x", "y"))])
    parent = Known(next(a for a in digits.enumerate() if [a[f"a{i}"] for i in range(4)] == [0, 1, 2, 3]), (0.0,))
    draws, seen = Draws(0, "inversion"), Counter[tuple[int, ...]]()
    for _ in range(300):
        child, meta = Inversion(Same(), rate=1.0)(digits, parent, lambda: parent, 7, draws)
        assert child["apart"] == "x" and meta == {"number": 7}
        seen[tuple(child[f"a{i}"] for i in range(4))] += 1
    assert set(seen) == {(1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2)}
    assert min(seen.values()) > 60
    assert Inversion(Same(), rate=0.0)(digits, parent, lambda: parent, 0, draws)[0] == parent.architecture


def test_inversion_keeps_to_what_is_valid() -> None:
    def rising(arch: Any) -> bool:
        return arch["a"] <= arch["b"]

    ordered = Space([Choice("a", (1, 2), "size"), Choice("b", (1, 2), "size")], [rising])
    parent = Known(next(a for a in ordered.enumerate() if a["a"] < a["b"]), (0.0,))
    assert Inversion(Same(), rate=1.0)(ordered, parent, lambda: parent, 0, Draws(0, "x"))[0] == parent.architecture
    draws = Draws(1, "x")
    for where in (space.darts(), small_space()):
        for seed in range(10):
            parent = known(where, seed)
            child, _ = Inversion(rate=1.0)(where, parent, lambda parent=parent: parent, 0, draws)  # type: ignore[misc]
            assert where.valid(child)


def test_turns_are_taken_by_number() -> None:
    parent, draws = known(CELLS, 0), Draws(0, "turns")
    part = Alternate((Same(), Mutate()))
    changed = [part(CELLS, parent, lambda: parent, n, draws)[0] != parent.architecture for n in range(6)]
    assert changed == [False, True] * 3
    with pytest.raises(UsageError, match="at least one"):
        Alternate(())


def test_a_child_on_the_path_names_its_second_parent() -> None:
    first, second, draws = known(CELLS, 0), known(CELLS, 5), Draws(0, "path")
    far = edit_distance(CELLS, first.architecture, second.architecture)
    assert far >= 4
    child, meta = EditPath(rate=0.5)(CELLS, first, lambda: second, 0, draws)
    assert meta == {"second": second.digest}
    assert edit_distance(CELLS, first.architecture, child) == -(-far // 2)


def test_where_no_child_is_between_them_the_parent_is_mutated() -> None:
    first, draws = known(CELLS, 0), Draws(0, "near")
    near = Known(CELLS.mutate(first.architecture, draws), (0.0,))
    for second in (first, near):
        child, meta = EditPath()(CELLS, first, lambda second=second: second, 0, draws)  # type: ignore[misc]
        assert meta == {}
        assert sum(child[n] != first.architecture[n] for n in child) == 1


def test_a_second_parent_like_the_first_is_chosen_again() -> None:
    first, second = known(CELLS, 0), known(CELLS, 5)
    turns = iter([first, first, second])
    assert EditPath()(CELLS, first, lambda: next(turns), 0, Draws(0, "again"))[1] == {"second": second.digest}


def test_evolution_with_these_obeys_the_kit() -> None:
    path = Alternate((Mutate(), EditPath()))
    check_strategy(Evolution(population=3, sample=2, variation=path), space=dag(5, ("a", "b", "c")))
    check_strategy(Evolution(population=3, sample=2, variation=Inversion(path, rate=0.5)))


def evaluations(variation: Any, seed: int, cells: Space, most: int = 300) -> int:
    """How many evaluations regularised evolution takes to a hidden cell, told minus the edit distance to it."""
    hidden = cells.sample(Draws(seed, "hidden"))
    searcher = Evolution(population=50, sample=10, variation=variation).start(cells, seed)
    for number in range(1, most + 1):
        (proposal,) = searcher.ask(1)
        far = edit_distance(cells, proposal.architecture, hidden)
        if far == 0:
            return number
        searcher.tell([Trial(proposal, Measurement({"valid_accuracy": -float(far)}), (-float(far),))])
    return most + 1


@pytest.mark.slow
def test_edit_paths_find_a_hidden_cell_sooner() -> None:
    """The claim of the catalogue: 20 hidden cells of six nodes, 300 evaluations; against crossover by decisions and mutation."""
    cells = dag(6, ("a", "b", "c"), 9)
    path = [evaluations(Alternate((Mutate(), EditPath())), seed, cells) for seed in range(20)]
    plain = [evaluations(Alternate((Mutate(), Cross())), seed, cells) for seed in range(20)]
    alone = [evaluations(Mutate(), seed, cells) for seed in range(20)]
    assert np.mean(path) < np.mean(plain) < np.mean(alone)
