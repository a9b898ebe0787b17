"""Plots as small SVG: lines over epochs, dots with a spread, and small multiples of gates.

Coordinates are in units of about one CSS pixel at a width of 360, so that texts keep their size on a narrow screen.
Colours are classes (see `style`); each series has a dash pattern and a label of its own besides its colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mimar.report.markup import esc, label, path, svg, tag

WIDTH, HEIGHT = 360.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 84.0, 10.0, 34.0
DASHES = (None, "7 3", "2 3", "9 3 2 3", "5 2", "1 4", "12 3", "3 2 1 2")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A named series; `quiet` lines stand behind and carry no label."""

    name: str
    points: Points
    series: int = 0
    quiet: bool = False


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic scale between two ends, with round ticks."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of `value` as a fraction of the axis."""
        if self.log:
            value, low, high = math.log10(max(value, self.low)), math.log10(self.low), math.log10(self.high)
            return (value - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int = 5) -> list[float]:
        """Return at most about `most` round values from end to end."""
        if self.log:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            return [10.0**k for k in range(first, last + 1, max(1, math.ceil((last - first) / most)))]
        step = _step(self.high - self.low, most)
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _step(span: float, most: int) -> float:
    raw = max(span, 1e-300) / most
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)


def axis(values: Sequence[float], low: float | None = None, high: float | None = None, log: bool = False) -> Axis:
    """Return the scale that holds `values`, with given ends or round ones."""
    top, bottom = max(values, default=1.0), min(values, default=0.0)
    if log and bottom > 0:
        ends = 10.0 ** math.floor(math.log10(bottom)), 10.0 ** math.ceil(math.log10(top))
        return Axis(ends[0], ends[1] if ends[1] > ends[0] else ends[0] * 10, log=True)
    bottom, top = min(bottom, top if low is None else low), max(top, bottom if high is None else high)
    if top - bottom < 1e-12 * max(1.0, abs(top)):
        top, bottom = top + max(abs(top), 1e-3) * 0.05, bottom - max(abs(bottom), 1e-3) * 0.05 * (low is None)
    step = _step(top - bottom, 4)
    return Axis(
        low if low is not None and low <= bottom else math.floor(bottom / step + 1e-9) * step,
        high if high is not None and high >= top else math.ceil(top / step - 1e-9) * step,
    )


def short(value: float) -> str:
    """Return a number as an axis shows it."""
    if value == 0:
        return "0"
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def whole_percent(value: float) -> str:
    """Return a fraction as a percentage without needless decimals."""
    return f"{100 * value:.4g} %"


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart so that neighbours keep `gap` where the room from `low` to `high` allows it."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    gap = min(gap, (high - low) / max(len(places) - 1, 1))
    moved = list(places)
    for before, i in zip([None, *order], order, strict=False):
        moved[i] = max(places[i], low if before is None else moved[before] + gap)
    for after, i in zip([None, *reversed(order)], reversed(order), strict=False):
        moved[i] = min(moved[i], high if after is None else moved[after] - gap)
    return moved


def _grid(xs: Axis, ys: Axis, form: Callable[[float], str], across: str) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    found = []
    for value in ys.ticks():
        y = bottom - ys.at(value) * (bottom - TOP)
        found.append(path([(LEFT, y), (right, y)], "rule") + label(LEFT - 6, y + 4, form(value), "soft", "end"))
    for value in xs.ticks(5):
        if value == round(value):  # there is no epoch 2.5
            x = LEFT + xs.at(value) * (right - LEFT)
            found.append(label(x, bottom + 15, short(value), "soft", "middle"))
    found.append(path([(LEFT, bottom), (right, bottom)], "axis"))
    return "".join(found) + label((LEFT + right) / 2, HEIGHT - 4, across, "soft", "middle")


def lines(
    title: str,
    series: Sequence[Line],
    *,
    form: Callable[[float], str] = short,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    across: str = "epoch",
) -> str:
    """Return series over epochs, each labelled at its end; "" when none has a point. `form` writes the values."""
    series = [s for s in series if s.points]
    values = [y for s in series for _, y in s.points]
    if not values:
        return ""
    log = log and min(values) > 0 and max(values) / min(values) > 30
    ends = [x for s in series for x, _ in s.points]
    xs, ys = Axis(min(ends), max(max(ends), min(ends) + 1)), axis(values, low, high, log)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return LEFT + xs.at(point[0]) * (right - LEFT), bottom - ys.at(point[1]) * (bottom - TOP)

    drawn, told = [_grid(xs, ys, form, across)], []
    for s in sorted(series, key=lambda s: not s.quiet):
        places = [place(p) for p in s.points]
        class_ = "line quiet" if s.quiet else f"line s{s.series % 8}"
        drawn.append(path(places, class_, None if s.quiet else DASHES[s.series % 8]))
        if len(places) <= 12 and not s.quiet:
            drawn += [tag("circle", cx=x, cy=y, r=2.5, class_=f"dot s{s.series % 8}") for x, y in places]
        told.append(f"{s.name}: from {form(s.points[0][1])} to {form(s.points[-1][1])}")
    loud = [s for s in series if not s.quiet]
    heights = spread([place(s.points[-1])[1] for s in loud], 26, TOP + 8, bottom - 12)
    for s, y in zip(loud, heights, strict=True):
        x = place(s.points[-1])[0] + 6
        drawn.append(label(x, y, s.name, f"name s{s.series % 8}"))
        drawn.append(label(x, y + 12, form(s.points[-1][1]), f"name s{s.series % 8}"))
    return svg(WIDTH, HEIGHT, "".join(drawn), title, "; ".join(told))


@dataclass(frozen=True)
class Row:
    """A row of a dot plot: single values, and where there are several their mean and spread; `loud` ones stand out."""

    name: str
    values: Sequence[float]
    mean: float | None = None
    std: float | None = None
    loud: bool = False


def dots(title: str, rows: Sequence[Row], form: Callable[[float], str] = whole_percent) -> str:
    """Return one row of dots for each of `rows` over a common scale, with mean (bar) ± standard deviation (band)."""
    rows = [r for r in rows if r.values]
    values = [v for r in rows for v in r.values]
    values += [r.mean + k * (r.std or 0.0) for r in rows if r.mean is not None for k in (-1, 1)]
    if not values:
        return ""
    scale, pitch, left, right = axis(values), 44.0, 14.0, WIDTH - 20.0
    height = pitch * len(rows) + 30.0

    def place(value: float) -> float:
        return left + scale.at(value) * (right - left)

    drawn, told = [], []
    for value in scale.ticks(4):
        x = place(value)
        drawn.append(path([(x, 4), (x, height - 26)], "rule"))
        drawn.append(label(x, height - 10, form(value), "soft", "middle"))
    for k, r in enumerate(rows):
        y, words = k * pitch + 32, f"{r.name}: " + ", ".join(form(v) for v in r.values)
        drawn.append(label(left - 10, y - 14, r.name, "ink strong" if r.loud else "ink"))
        if r.mean is not None and r.std is not None:
            begin, end = place(r.mean - r.std), place(r.mean + r.std)
            drawn.append(tag("rect", x=begin, y=y - 7, width=max(end - begin, 0.5), height=14.0, class_="band"))
            drawn.append(path([(place(r.mean), y - 9), (place(r.mean), y + 9)], "mean"))
            words += f"; mean {form(r.mean)}, standard deviation {form(r.std)}"
        class_ = "dot s0" if r.loud else "ring"
        drawn += [tag("circle", cx=place(v), cy=float(y), r=5.0, class_=class_) for v in r.values]
        told.append(words)
    return svg(WIDTH, height, "".join(drawn), title, "; ".join(told))


def panel(title: str, series: Sequence[Line], top: float, even: float, chosen: str | None) -> str:
    """Return one small multiple: the gates of a choice over epochs from 0 to `top`; `even` is no preference.

    The option that ended highest is drawn thick and named; `chosen` is the option in the derived network, if any.
    """
    width, height, left, ground, ceiling = 168.0, 112.0, 26.0, 98.0, 34.0
    best = max(series, key=lambda s: s.points[-1][1])
    first, last = series[0].points[0][0], series[0].points[-1][0]
    xs = Axis(first, max(last, first + 1))

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return left + xs.at(point[0]) * (width - left - 4), ground - min(point[1] / top, 1.0) * (ground - ceiling)

    drawn = [path([(left, y), (width - 4, y)], "rule") for y in (ground, ceiling)]
    drawn += [
        label(left - 4, ground + 4, "0", "soft", "end", 9),
        label(left - 4, ceiling + 4, short(top), "soft", "end", 9),
    ]
    y = place((first, even))[1]
    drawn.append(path([(left, y), (width - 4, y)], "even", "1 3"))
    for s in sorted(series, key=lambda s: s is best):
        class_ = f"line s{s.series % 8}" + ("" if s is best else " thin")
        places = [place(p) for p in s.points]
        drawn.append(path(places, class_, DASHES[s.series % 8]) if len(places) > 1 else "")
        if len(places) == 1:
            drawn.append(tag("circle", cx=places[0][0], cy=places[0][1], r=2.0, class_=f"dot s{s.series % 8}"))
    drawn.append(label(left, height - 3, f"epoch {short(first)}", "soft", "start", 9))
    drawn.append(label(width - 4, height - 3, short(last), "soft", "end", 9))
    drawn.append(label(2, 11, title, "ink strong" if chosen else "ink"))
    drawn.append(label(2, 25, f"{best.name} {best.points[-1][1]:.2f}", f"name s{best.series % 8}"))
    if chosen:
        drawn.append(label(width - 4, 11, "✓ in the network", "ink", "end", 9))
    ends = ", ".join(f"{s.name} {s.points[-1][1]:.3f}" for s in series)
    kept = f"; the network has {chosen}" if chosen else ""
    return svg(width, height, "".join(drawn), f"gates of {title}", f"at the end: {ends}{kept}", "panel")


def legend(names: Sequence[tuple[int, str]]) -> str:
    """Return the key of colours and dashes for (series, name)."""
    found = []
    for k, name in names:
        sample = path([(0, 6), (34, 6)], f"line s{k % 8}", DASHES[k % 8])
        mark = f'<svg viewBox="0 0 34 12" width="34" height="12" aria-hidden="true">{sample}</svg>'
        found.append(tag("li", f"{mark} {esc(name)}"))
    return tag("ul", "".join(found), class_="legend")
