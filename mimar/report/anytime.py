"""Regret against a budget: a line with a band for each of several arms, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mimar.report.markup import Markup, label, path, svg
from mimar.report.plots import DASHES

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480.0, 300.0, 48.0, 318.0, 12.0, 254.0
APART = 13.0  # between two names at the lines' ends


class Curve(NamedTuple):
    """One arm: where it was looked at, its middle line, and the two edges of its band."""

    name: str
    at: Sequence[float]
    middle: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]


def regrets(title: str, curves: Sequence[Curve], axis: str, form: Callable[[float], str], floor: float) -> Markup:
    """Return the picture; nothing where no curve has a point. Regrets below `floor` are drawn there: it stands for none.

    `axis` names the budget, `form` writes a regret.
    """
    drawn, told = [], []
    kept = [
        (k, c, [(x, y) for x, y in zip(c.at, c.middle, strict=True) if y is not None and x > 0])
        for k, c in enumerate(curves)
    ]
    kept = [(k, c, points) for k, c, points in kept if points]
    if not kept:
        return Markup()
    xs = [x for _, _, points in kept for x, _ in points]
    ys = [max(v, floor) for _, c, _ in kept for row in (c.middle, c.high) for v in row if v is not None]
    left, right = math.log10(min(xs)), math.log10(max(xs))
    low, high = math.log10(floor), math.log10(max(max(ys) * 1.1, floor * 10))

    def across(x: float) -> float:
        return LEFT + (math.log10(x) - left) / ((right - left) or 1) * (RIGHT - LEFT)

    def up(y: float) -> float:
        return BOTTOM - (math.log10(max(y, floor)) - low) / (high - low) * (BOTTOM - TOP)

    for y in ticks(floor, 10**high):
        drawn += [path([(LEFT, up(y)), (RIGHT, up(y))], "rule"), label(LEFT - 6, up(y) + 4, form(y), "soft", "end")]
    drawn.append(path([(LEFT, BOTTOM), (RIGHT, BOTTOM)], "axis"))
    for x in ticks(10**left, 10**right):
        drawn.append(label(across(x), BOTTOM + 15, f"{x:g}" if x < 1e5 else f"{x:.0e}", "soft", "middle"))
    drawn.append(label((LEFT + RIGHT) / 2, HEIGHT - 14, axis, "soft", "middle"))
    for k, c, points in kept:
        edge = [
            (x, a, b) for x, a, b in zip(c.at, c.low, c.high, strict=True) if a is not None and b is not None and x > 0
        ]
        upper, lower = [(across(x), up(b)) for x, _, b in edge], [(across(x), up(a)) for x, a, _ in edge]
        if len(edge) > 1:
            drawn.append(path([*upper, *reversed(lower)], f"band s{k % 8}"))
        drawn.append(path([(across(x), up(y)) for x, y in points], f"line s{k % 8}", DASHES[k % 8]))
        told.append(
            f"{c.name}: {form(points[0][1])} at {points[0][0]:.3g}, {form(points[-1][1])} at {points[-1][0]:.3g}"
        )
    drawn += _names([(up(points[-1][1]), k, c.name) for k, c, points in kept])
    return svg((WIDTH, HEIGHT), drawn, title, "; ".join(told))


def ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten in [low, high]; the powers alone where there would be more than eight."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    every = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    inside = [t for t in every if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
    return inside if len(inside) <= 8 else [t for t in inside if math.isclose(math.log10(t), round(math.log10(t)))]


def _names(ends: Sequence[tuple[float, int, str]]) -> list[Markup]:
    """Return the names at the right, in the order of the lines' ends, apart from each other."""
    ordered, found, y = sorted(ends), [], TOP - APART
    for place, (wanted, k, name) in enumerate(ordered):
        y = min(max(wanted + 4, y + APART), BOTTOM + 4 - APART * (len(ordered) - place - 1))
        found.append(label(RIGHT + 6, y, name if len(name) < 25 else f"{name[:23]}…", f"name s{k % 8}"))
    return found
