"""Several objectives at once: domination, fronts, crowding, hypervolume. Larger is better in every column.

N points, M objectives; a point dominates another when it is nowhere worse and somewhere better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mimar.core.errors import UsageError

Points = Sequence[Sequence[float]] | Any


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Tell whether `a` is nowhere worse than `b` and somewhere better."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def ranks(points: Points) -> list[int]:
    """Return the number of each point's front: 0 for those that nothing dominates, 1 once these are taken away, ….

    Deb et al., "NSGA-II", 2002, section III.A. O(M N²).
    """
    x = _matrix(points)
    left = np.arange(len(x))
    found = np.zeros(len(x), dtype=int)
    no_worse = np.all(x[:, None, :] >= x[None, :, :], axis=-1)
    over: Any = no_worse & np.any(x[:, None, :] > x[None, :, :], axis=-1)  # (N, N): row dominates column
    number = 0
    while len(left):
        best = ~over[np.ix_(left, left)].any(0)
        found[left[best]] = number
        left, number = left[~best], number + 1
    ranked: list[int] = found.tolist()
    return ranked


def front(points: Points) -> list[int]:
    """Return which points nothing dominates, in their order; of equal points all."""
    return [i for i, rank in enumerate(ranks(points)) if rank == 0]


def crowding(points: Points) -> list[float]:
    """Return the crowding distance of each point of one front: the sides of the box between its neighbours, summed.

    Every side is divided by the range of its objective; points at an end have infinity. Deb et al., 2002, section III.B.
    """
    x = _matrix(points)
    n = len(x)
    found = np.zeros(n)
    for column in x.T:
        order = np.argsort(column, kind="stable")
        width = column[order[-1]] - column[order[0]] if n else 0.0
        found[order[[0, -1]] if n else []] = np.inf
        if n > 2 and width > 0:
            found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / width
    distances: list[float] = found.tolist()
    return distances


def order(points: Points) -> list[int]:
    """Return the points from best to worst: by front, within a front the least crowded first, then by number."""
    ranked = ranks(points)
    apart = [0.0] * len(ranked)
    x = _matrix(points)
    for number in range(max(ranked, default=-1) + 1):
        members = [i for i, rank in enumerate(ranked) if rank == number]
        for i, distance in zip(members, crowding(x[members]), strict=True):
            apart[i] = distance
    return sorted(range(len(ranked)), key=lambda i: (ranked[i], -apart[i], i))


def utilities(values: Sequence[tuple[float, ...]]) -> list[float]:
    """Return one number a point, larger is better, for strategies that compare numbers.

    One objective: its value. Several: the place of the point from behind in `order`, in [0, 1], so that it depends on
    which points are given. Points with the same values share the mean of their places: copies are worth the same.
    """
    if not values or len(values[0]) == 1:
        return [v[0] for v in values]
    placed = order(values)
    total: dict[tuple[float, ...], list[float]] = {}
    for place, i in enumerate(placed):
        total.setdefault(tuple(values[i]), []).append(1.0 - place / max(len(placed) - 1, 1))
    return [math.fsum(total[tuple(v)]) / len(total[tuple(v)]) for v in values]


def hypervolume(points: Points, reference: Sequence[float]) -> float:
    """Return the volume that the points dominate above `reference`; points not above it in all objectives count nothing.

    Exact: a sweep in two dimensions, slices along the last objective in more. Raises UsageError where the reference has
    another number of objectives.
    """
    x, low = _matrix(points), np.asarray(reference, dtype=float)
    if len(x) and x.shape[1] != len(low):
        raise UsageError(f"the reference point has {len(low)} objectives and the points have {x.shape[1]}")
    x = x[(x > low).all(1)] if len(x) else x
    return _volume(x - low) if len(x) else 0.0


def _volume(x: np.ndarray[Any, Any]) -> float:
    """Return the volume above the origin of points with positive coordinates."""
    if x.shape[1] == 1:
        return float(x.max())
    x = x[np.argsort(-x[:, -1], kind="stable")]
    if x.shape[1] == 2:
        widest = np.maximum.accumulate(x[:, 0])
        down = np.append(x[1:, 1], 0.0)
        return float((widest * (x[:, 1] - down)).sum())
    heights = np.append(x[1:, -1], 0.0)
    slices = [(i, h) for i, h in enumerate(x[:, -1] - heights) if h > 0]
    return math.fsum(h * _volume(x[: i + 1, :-1]) for i, h in slices)


def _matrix(points: Points) -> np.ndarray[Any, Any]:
    x = np.asarray(points, dtype=float)
    if x.size == 0:
        return x.reshape(0, x.shape[1] if x.ndim == 2 else 1)
    if x.ndim != 2:
        raise UsageError(f"points are given as rows of as many numbers each; got the shape {x.shape}")
    if not np.isfinite(x).all():
        raise UsageError("points must be finite numbers")
    return x
