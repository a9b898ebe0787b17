"""Plots as small SVG: lines over epochs, dots with a spread, and small multiples of gates.

Coordinates are about CSS pixels at a width of 360, so that texts keep their size on a narrow screen. Colours are classes
(see `style`); each series has a dash pattern and a label of its own besides its colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mimar.report.markup import Markup, label, path, svg, tag

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360.0, 200.0, 46.0, 276.0, 10.0, 166.0
DASHES = (None, "7 3", "2 3", "9 3 2 3", "5 2", "1 4", "12 3", "3 2 1 2")


class Line(NamedTuple):
    """A named series; `quiet` lines stand behind and carry no label."""

    name: str
    points: Sequence[tuple[float, float]]
    series: int = 0
    quiet: bool = False


class Row(NamedTuple):
    """A row of a dot plot: single values, with their mean and standard deviation if given; `loud` ones stand out."""

    name: str
    values: Sequence[float]
    mean: float | None = None
    std: float | None = None
    loud: bool = False


def short(value: float) -> str:
    """Return a number as an axis shows it."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.3g}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def whole_percent(value: float) -> str:
    """Return a fraction as a percentage without needless decimals."""
    return f"{100 * value:.4g} %"


def scale(values: Sequence[float], low: float | None = None, high: float | None = None) -> list[float]:
    """Return the round ticks of an axis that holds `values`, and the given ends if these do not reach them."""
    bottom, top = (end([*values, *([v] if v is not None else [])]) for end, v in ((min, low), (max, high)))
    if top - bottom < 1e-9 * max(abs(top), 1e-3):
        top, bottom = top + (0.05 * abs(top) or 1.0), bottom - (0.05 * abs(bottom) if low != bottom else 0.0)
    power = 10.0 ** math.floor(math.log10((top - bottom) / 4))
    step = next(m * power for m in (1, 2, 5, 10, 20) if m * power >= 0.999 * (top - bottom) / 4)
    return [k * step for k in range(math.floor(bottom / step + 1e-9), math.ceil(top / step - 1e-9) + 1)]


def lines(
    title: str, given: Sequence[Line], form: Callable[[float], str] = short, *, log: bool = False, **ends: float | None
) -> Markup:
    """Return series over epochs, each labelled at its end; nothing when none has a point. `form` writes the values.

    `log` allows a logarithmic scale where the values are positive and span a factor of more than 30; `low` and `high`
    are ends that the axis reaches at least.
    """
    given = [s for s in given if s.points]
    values = [y for s in given for _, y in s.points]
    if not values:
        return Markup()
    drawn, told, show, tick = [], [], form, form
    if log and min(values) > 0 and max(values) > 30 * min(values):
        given = [Line(s.name, [(x, math.log10(y)) for x, y in s.points], s.series, s.quiet) for s in given]
        values, ends = [math.log10(v) for v in values], {}
        show, tick = (lambda v: form(10**v)), (lambda v: f"{10**v:.1g}")
    first, last = (end(x for s in given for x, _ in s.points) for end in (min, max))
    heights = scale(values, **ends)
    bottom, top = heights[0], heights[-1]

    def across(x: float) -> float:
        return LEFT + (x - first) / (last - first or 1) * (RIGHT - LEFT)

    def up(y: float) -> float:
        return BOTTOM - (y - bottom) / (top - bottom) * (BOTTOM - TOP)

    for y in heights:
        drawn += [path([(LEFT, up(y)), (RIGHT, up(y))], "rule"), label(LEFT - 6, up(y) + 4, tick(y), "soft", "end")]
    drawn.append(path([(LEFT, BOTTOM), (RIGHT, BOTTOM)], "axis"))
    for x in [x for x in scale([first, last]) if x == round(x) and first <= x <= last] or [first]:
        drawn.append(label(across(x), BOTTOM + 15, short(x), "soft", "middle"))
    drawn.append(label((LEFT + RIGHT) / 2, HEIGHT - 4, "epoch", "soft", "middle"))
    for s in sorted(given, key=lambda s: not s.quiet):
        places, colour = [(across(x), up(y)) for x, y in s.points], f"s{s.series % 8}"
        drawn.append(path(places, *(("line quiet",) if s.quiet else (f"line {colour}", DASHES[s.series % 8]))))
        if len(places) <= 12 and not s.quiet:
            drawn += [tag("circle", cx=x, cy=y, r=2.5, class_=f"dot {colour}") for x, y in places]
        told.append(f"{s.name}: from {show(s.points[0][1])} to {show(s.points[-1][1])}")
    loud, y = sorted((s for s in given if not s.quiet), key=lambda s: -s.points[-1][1]), TOP - 18
    for k, s in enumerate(loud, 1):  # labels keep a distance of 26 from each other
        y = min(max(up(s.points[-1][1]), y + 26), BOTTOM - 12 - 26 * (len(loud) - k))
        x, class_ = across(s.points[-1][0]) + 6, f"name s{s.series % 8}"
        drawn += [label(x, y, s.name, class_), label(x, y + 12, show(s.points[-1][1]), class_)]
    return svg((WIDTH, HEIGHT), drawn, title, "; ".join(told))


def dots(title: str, rows: Sequence[Row], form: Callable[[float], str] = whole_percent) -> Markup:
    """Return one row of dots for each of `rows` over a common scale, with mean (bar) ± standard deviation (band)."""
    rows = [r for r in rows if r.values]
    values = [v for r in rows for v in r.values]
    values += [r.mean + k * (r.std or 0.0) for r in rows if r.mean is not None for k in (-1, 1)]
    if not values:
        return Markup()
    marks, height, drawn, told = scale(values), 44.0 * len(rows) + 30, [], []

    def across(value: float) -> float:
        return 16 + (value - marks[0]) / (marks[-1] - marks[0]) * (WIDTH - 36)

    for value in marks:
        x = across(value)
        drawn += [path([(x, 4), (x, height - 26)], "rule"), label(x, height - 10, form(value), "soft", "middle")]
    for k, r in enumerate(rows):
        y, words = 44.0 * k + 32, f"{r.name}: {', '.join(map(form, r.values))}"
        drawn.append(label(4, y - 14, r.name, "ink strong halo" if r.loud else "ink halo"))
        if r.mean is not None and r.std is not None:
            begin, end = across(r.mean - r.std), across(r.mean + r.std)
            drawn.append(tag("rect", x=begin, y=y - 7, width=max(end - begin, 0.5), height=14.0, class_="band"))
            drawn.append(path([(across(r.mean), y - 9), (across(r.mean), y + 9)], "mean"))
            words += f"; mean {form(r.mean)}, standard deviation {form(r.std)}"
        drawn += [tag("circle", cx=across(v), cy=y, r=5.0, class_="dot s0" if r.loud else "ring") for v in r.values]
        told.append(words)
    return svg((WIDTH, height), drawn, title, "; ".join(told))


def panel(title: str, given: Sequence[Line], top: float, chosen: str | None) -> Markup:
    """Return one small multiple: the gates of a choice over epochs, from 0 to `top`.

    The option that ended highest is thick and named, a dotted line is no preference; `chosen` is the network's option.
    """
    width, height, left, ground, ceiling = 168.0, 112.0, 26.0, 98.0, 34.0
    best, right = max(given, key=lambda s: s.points[-1][1]), width - 4
    first, last = (end(x for x, _ in given[0].points) for end in (min, max))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x - first) / (last - first or 1) * (right - left), ground - y / top * (ground - ceiling)

    drawn = [path([(left, y), (right, y)], "rule") for y in (ground, ceiling)]
    drawn += [label(left - 4, y + 4, short(v), "soft", "end", 9) for y, v in ((ground, 0), (ceiling, top))]
    drawn.append(path([place(first, 1 / len(given)), (right, place(0, 1 / len(given))[1])], "even", "1 3"))
    for s in sorted(given, key=lambda s: s is best):
        places = [place(x, y) for x, y in s.points]
        class_ = f"line s{s.series % 8}" + ("" if s is best else " thin")
        one = tag("circle", cx=places[0][0], cy=places[0][1], r=2.0, class_=f"dot s{s.series % 8}")
        drawn.append(path(places, class_, DASHES[s.series % 8]) if len(places) > 1 else one)
    drawn.append(label(left, height - 3, f"epoch {short(first)}", "soft", "start", 9))
    drawn.append(label(right, height - 3, short(last), "soft", "end", 9))
    drawn.append(label(2, 11, title[: 14 if chosen else 28], "ink strong"))
    drawn.append(label(2, 25, f"{best.name[:20]} {best.points[-1][1]:.2f}", f"name s{best.series % 8}"))
    if chosen:
        drawn.append(label(right, 11, f"✓ {chosen[:16]}", "ink", "end", 9))
    ends = ", ".join(f"{s.name} {s.points[-1][1]:.3f}" for s in given)
    told = f"at the end: {ends}; the derived network has {chosen or 'none of them'}"
    return svg((width, height), drawn, f"gates of {title}", told, "panel")


def legend(names: Sequence[tuple[int, str]]) -> Markup:
    """Return the key of colours and dashes for (series, name)."""
    box = {"viewBox": "0 0 34 12", "width": "34", "height": "12", "aria_hidden": "true"}
    samples = [path([(0, 6), (34, 6)], f"line s{k % 8}", DASHES[k % 8]) for k, _ in names]
    found = [tag("li", tag("svg", s, **box), f" {name}") for s, (_, name) in zip(samples, names, strict=True)]
    return tag("ul", *found, class_="legend")
