"""Scatter plots as small SVG: marks of several kinds, lines through them, what lies beyond an axis, what has no value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mimar.report.markup import Markup, join, label, num, path, svg, tag
from mimar.report.plots import DASHES, Line, scale, short

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360.0, 214.0, 46.0, 280.0, 10.0, 166.0
MOST = 1500  # marks of a group
Point = tuple[float, float]


class Marks(NamedTuple):
    """Points of one kind: as "dot", "ring", or "cross" for what has a place along the first axis but no value."""

    name: str
    points: Sequence[Point]
    series: int = 6
    kind: str = "dot"
    size: float = 2.2


class Axis(NamedTuple):
    """An axis: its name, how its figures are written, and ends; what lies beyond them is drawn at the edge."""

    name: str
    form: Callable[[float], str] = short
    low: float | None = None
    high: float | None = None

    def reaches(self, value: float) -> bool:
        """Tell whether a figure lies between the ends."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def ticks(self, values: Sequence[float]) -> list[float]:
        """Return round ticks around the values, as far as the ends allow."""
        return scale([v for v in values if self.reaches(v)] or values)


def scatter(
    title: str, across: Axis, up: Axis, groups: Sequence[Marks], lines: Sequence[Line] = (), *, named: bool = True
) -> Markup:
    """Return the picture; nothing where no point has a value. Lines are labelled at their ends, unless `named` is off or they are quiet."""
    every = [p for g in groups if g.kind != "cross" for p in g.points] + [p for s in lines for p in s.points]
    if not every:
        return Markup()
    lost = [p for g in groups if g.kind == "cross" for p in g.points]
    at, loud = [x for x, _ in (*every, *lost)], [s for s in lines if named and s.points and not s.quiet]
    right = RIGHT if loud else WIDTH - 14  # where nothing is written beside
    frame = _Frame(across.ticks(at), up.ticks([y for _, y in every]), max(at), right, bool(lost))
    drawn, told = [frame.axes(across, up)], []
    for g in groups:
        shown = g.points[:: -(-len(g.points) // MOST)] if g.points else ()
        drawn += [frame.mark(g, p) for p in shown]
        told.append(f"{g.name}: {len(g.points)}")
    for s in sorted(lines, key=lambda s: not s.quiet):
        places, class_ = [frame.place(p) for p in s.points], "line quiet" if s.quiet else f"line s{s.series % 8}"
        if len(places) > 1:
            drawn.append(path(places, class_, None if s.quiet else DASHES[s.series % 8]))
        if s.points:
            told.append(f"{s.name}: from {up.form(s.points[0][1])} to {up.form(s.points[-1][1])}")
    drawn += _names(frame, loud, up)
    return svg((WIDTH, HEIGHT + frame.foot), drawn, title, "; ".join(told))


class _Frame:
    """Where things stand between ticks; across, the points' end is the axis'. `foot`: a strip for what has no value."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float], last: float, right: float, lost: bool) -> None:
        self.xs, self.ys, self.right, self.foot = xs, ys, right, 12.0 if lost else 0.0
        self.last = last if last > xs[0] else xs[-1]

    def place(self, point: Point) -> Point:
        """Return the coordinates of a point, at the edge where it lies beyond."""
        (x, y), (xs, ys) = point, (self.xs, self.ys)
        x, y = min(max(x, xs[0]), self.last), min(max(y, ys[0]), ys[-1])
        left = LEFT + (x - xs[0]) / (self.last - xs[0]) * (self.right - LEFT)
        return left, BOTTOM - (y - ys[0]) / (ys[-1] - ys[0]) * (BOTTOM - TOP)

    def axes(self, across: Axis, up: Axis) -> Markup:
        """Return rules, ticks and names."""
        drawn = []
        for y in self.ys:
            at = self.place((self.xs[0], y))[1]
            drawn += [path([(LEFT, at), (self.right, at)], "rule"), label(LEFT - 6, at + 4, up.form(y), "soft", "end")]
        drawn.append(path([(LEFT, BOTTOM + self.foot), (self.right, BOTTOM + self.foot)], "axis"))
        ticks = {across.form(x): x for x in reversed(self.xs[:: 1 + len(self.xs) // 7]) if x <= self.last}
        for words, x in ticks.items():
            at = self.place((x, self.ys[0]))[0]
            drawn.append(label(at, BOTTOM + self.foot + 15, words, "soft", "middle"))
        middle = (LEFT + self.right) / 2
        return join(*drawn, label(middle, HEIGHT + self.foot - 12, across.name, "soft", "middle"))

    def mark(self, group: Marks, point: Point) -> Markup:
        """Return one mark; a triangle points to what lies beyond the edge."""
        (x, y), class_ = self.place(point), f"dot s{group.series % 8}"
        if group.kind == "cross":
            y, d = BOTTOM + self.foot / 2, 2.6
            way = f"M{num(x - d)} {num(y - d)} L{num(x + d)} {num(y + d)} M{num(x - d)} {num(y + d)} L{num(x + d)} {num(y - d)}"
            return tag("path", d=way, class_=f"line s{group.series % 8}")
        if not self.ys[0] <= point[1] <= self.ys[-1]:
            d = 3.0 if point[1] < self.ys[0] else -3.0
            return path([(x, y + d / 2), (x - 2.4, y - d), (x + 2.4, y - d)], class_)
        if group.kind == "ring":
            return tag("circle", cx=x, cy=y, r=group.size, class_="ring")
        return tag("circle", cx=x, cy=y, r=group.size, class_=class_)


def _names(frame: _Frame, loud: Sequence[Line], up: Axis) -> list[Markup]:
    """Return name and last figure of each line at its end, apart from each other."""
    ordered = sorted(loud, key=lambda s: frame.place(s.points[-1])[1])
    drawn, y = [], TOP - 18
    for k, s in enumerate(ordered, 1):
        x, end = frame.place(s.points[-1])
        y, class_ = min(max(end, y + 26), BOTTOM - 12 - 26 * (len(ordered) - k)), f"name s{s.series % 8}"
        drawn += [label(x + 6, y, s.name, class_), label(x + 6, y + 12, up.form(s.points[-1][1]), class_)]
    return drawn


def key(groups: Sequence[Marks], *, counted: bool = True) -> Markup:
    """Return what the marks mean, for groups that have any; "" where there are none."""
    box = {"viewBox": "0 0 14 12", "width": "14", "height": "12", "aria_hidden": "true"}
    found = []
    for g in (g for g in groups if g.points):
        sample = tag(
            "circle", cx=7.0, cy=6.0, r=g.size + 0.8, class_="ring" if g.kind == "ring" else f"dot s{g.series % 8}"
        )
        if g.kind == "cross":
            sample = tag("path", d="M4 3 L10 9 M4 9 L10 3", class_=f"line s{g.series % 8}")
        found.append(tag("li", tag("svg", sample, **box), f" {g.name}" + (f": {len(g.points):,}" if counted else "")))
    return tag("ul", *found, class_="legend") if found else Markup()
