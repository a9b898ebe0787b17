"""Accuracy against budget: random search as a curve that grows with it, every recipe as a point at its own cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mimar.core.units import count
from mimar.report.markup import Markup, label, path, svg, tag
from mimar.report.plots import scale, whole_percent

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480.0, 300.0, 52.0, 462.0, 12.0, 254.0
PLACES = ((9, 4), (-15, 4), (-3, -9), (-3, 17), (9, -7), (9, 15), (-15, -7), (-15, 15))  # of a number beside its dot


class Point(NamedTuple):
    """A mean over seeds at a cost, with its standard deviation if there is one."""

    name: str
    cost: float
    mean: float
    std: float | None = None


def regret(title: str, curve: Sequence[Point], points: Sequence[Point]) -> Markup:
    """Return the curve with its band and the points, numbered in their order; nothing where both are empty.

    The cost has a logarithmic scale; its unit is written at the axis.
    """
    every = [p for p in (*curve, *points) if p.cost > 0]
    if not every:
        return Markup()
    across, drawn = _across([math.log10(p.cost) for p in every])
    ends = [p.mean + k * (p.std or 0.0) for p in every for k in (-1, 1)]
    marks = scale(ends)

    def up(y: float) -> float:
        return BOTTOM - (y - marks[0]) / (marks[-1] - marks[0]) * (BOTTOM - TOP)

    for y in marks:
        drawn += [path([(LEFT, up(y)), (RIGHT, up(y))], "rule")]
        drawn += [label(LEFT - 6, up(y) + 4, whole_percent(y), "soft", "end")]
    drawn.append(path([(LEFT, BOTTOM), (RIGHT, BOTTOM)], "axis"))
    if curve:
        edge = [[(across(c), up(y)) for c, y in _steps(curve, k)] for k in (-1, 0, 1)]
        drawn += [path([*edge[0], *reversed(edge[2])], "band"), path(edge[1], "line s7")]
    drawn += _dots([(across(p.cost), up(p.mean), up(p.mean + (p.std or 0)), up(p.mean - (p.std or 0))) for p in points])
    words = [f"{p.name}: {whole_percent(p.mean)} at {count(p.cost)} MACs" for p in (*curve[-1:], *points)]
    return svg((WIDTH, HEIGHT), drawn, title, "; ".join(words))


def _steps(curve: Sequence[Point], k: int) -> list[tuple[float, float]]:
    """Return the corners of a staircase: the mean and `k` standard deviations, held until the next cost."""
    ys = [p.mean + k * (p.std or 0.0) for p in curve]
    ends = [p.cost for p in (*curve[1:], curve[-1])]
    return [corner for p, y, end in zip(curve, ys, ends, strict=True) for corner in ((p.cost, y), (end, y))]


def _across(logs: Sequence[float]) -> tuple[Callable[[float], float], list[Markup]]:
    """Return the place of a cost on the axis, and the axis' ticks at 1, 2 and 5 times a power of ten."""
    low, high = min(logs) - 0.06, max(logs) + 0.06

    def across(cost: float) -> float:
        return LEFT + (math.log10(cost) - low) / (high - low) * (RIGHT - LEFT)

    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= math.log10(m * 10.0**p) <= high]
    if high - low > 2.5:
        ticks = [t for t in ticks if round(math.log10(t), 6) == round(math.log10(t))]
    drawn = [label(across(t), BOTTOM + 15, count(t), "soft", "middle") for t in ticks]
    drawn.append(label((LEFT + RIGHT) / 2, HEIGHT - 12, "cost of search and training in MACs", "soft", "middle"))
    return across, drawn


def _dots(places: Sequence[tuple[float, float, float, float]]) -> list[Markup]:
    """Return dots at (x, y) with whiskers from y to y, each with its number where nothing else stands."""
    drawn, taken = [], [(x, y) for x, y, _, _ in places]
    for k, (x, y, top, foot) in enumerate(places):
        drawn.append(path([(x, top), (x, foot)], f"line s{k % 8} thin"))
        drawn.append(tag("circle", cx=x, cy=y, r=4.0, class_=f"dot s{k % 8}"))

        def room(shift: tuple[int, int], x: float = x, y: float = y) -> float:
            return min(math.hypot(a - x - shift[0] - 3, b - y - shift[1] + 4) for a, b in taken)

        dx, dy = next((shift for shift in PLACES if room(shift) > 10), max(PLACES, key=room))
        taken.append((x + dx + 3, y + dy - 4))
        drawn.append(label(x + dx, y + dy, k + 1, f"name halo s{k % 8}"))
    return drawn
