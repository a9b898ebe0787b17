"""Domination, fronts, crowding and hypervolume against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.objectives import crowding, dominates, front, hypervolume, order, ranks, utilities


def points(n: int, m: int, seed: int = 0, grid: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, grid, (n, m)).astype(float) if grid else rng.random((n, m))


def peeled(x: np.ndarray) -> list[int]:
    """Rank by the definition: take away what nothing dominates, again and again."""
    left, found, number = set(range(len(x))), [0] * len(x), 0
    while left:
        best = {i for i in left if not any(dominates(x[j], x[i]) for j in left)}
        for i in best:
            found[i] = number
        left, number = left - best, number + 1
    return found


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("grid", [None, 4])
def test_ranks_are_those_of_the_definition(m: int, grid: int | None) -> None:
    x = points(200, m, m, grid)
    assert ranks(x) == peeled(x)
    assert front(x) == [i for i, r in enumerate(peeled(x)) if r == 0]


def test_crowding_by_hand() -> None:
    assert crowding([(0, 4), (1, 2), (3, 1), (4, 0)]) == [np.inf, 3 / 4 + 3 / 4, 3 / 4 + 2 / 4, np.inf]
    assert crowding([(1, 1)]) == [np.inf]
    assert crowding([(1, 1), (1, 1), (1, 1)])[1] == 0.0


def test_order_prefers_the_front_and_then_room() -> None:
    x = [(0, 0), (0, 4), (1, 2), (3, 1), (4, 0)]
    assert order(x) == [1, 4, 2, 3, 0]


def test_utilities_are_values_or_places() -> None:
    assert utilities([(3.0,), (1.0,)]) == [3.0, 1.0]
    assert utilities([]) == []
    found = utilities([(0, 0), (0, 4), (1, 2), (3, 1), (4, 0)])
    assert sorted(range(5), key=found.__getitem__) == [0, 3, 2, 4, 1]
    same = utilities([(1, 1), (2, 2), (2, 2)])
    assert same[1] == same[2] > same[0]


def counted(x: np.ndarray, reference: np.ndarray) -> float:
    """Count the cells of an integer grid that the points dominate."""
    top = int(x.max()) if len(x) else 0
    axes = [np.arange(r, top) for r in reference.astype(int)]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, x.shape[1])
    return float(sum(any((p > c).all() for p in x) for c in cells))


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_hypervolume_counts_cells(m: int) -> None:
    x = points(12, m, 7 + m, 5)
    for reference in (np.zeros(m), np.ones(m)):
        assert hypervolume(x, reference.tolist()) == pytest.approx(counted(x, reference), abs=1e-12)


def test_hypervolume_ignores_what_is_dominated_or_below() -> None:
    x = [(3.0, 1.0), (1.0, 3.0)]
    assert hypervolume(x, (0, 0)) == 5.0 == hypervolume([*x, (1.0, 1.0), (5.0, -1.0)], (0, 0))
    assert hypervolume([], (0, 0)) == 0.0 == hypervolume([(-1.0, 2.0)], (0, 0))


def test_wrong_points_have_a_sentence() -> None:
    with pytest.raises(UsageError, match="2 objectives and the points have 3"):
        hypervolume([(1, 2, 3)], (0, 0))
    with pytest.raises(UsageError, match="finite"):
        ranks([(1.0, float("nan"))])
    with pytest.raises(UsageError, match="rows of as many numbers"):
        ranks([1.0, 2.0])
