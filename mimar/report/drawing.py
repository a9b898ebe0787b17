"""A cell as SVG: for the page, where the style sheet is the page's, or as a file of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mimar.report.cells import Box, Cell, Point, Wire
from mimar.report.markup import label, num, svg, tag
from mimar.report.style import FILE

LONGEST = 15  # letters of an operation's name that fit its box


def draw(cell: Cell, colours: Mapping[str, int]) -> str:
    """Return the picture of one cell; `colours` gives the series of each operation."""
    return svg(cell.width, cell.height, _content(cell, colours), f"{cell.name} cell", cell.words, "cell")


def alone(cells: list[Cell], colours: Mapping[str, int], title: str) -> str:
    """Return the cells below each other as an SVG file with its own colours on its own ground."""
    margin, top, found = 12.0, 12.0, []
    width = max(c.width for c in cells) + 2 * margin
    for cell in cells:
        found.append(label(margin, top + 12, f"{cell.name} cell" if len(cells) > 1 else title, "ink strong", size=13))
        place = f"translate({num((width - cell.width) / 2)} {num(top + 24)})"
        found.append(tag("g", _content(cell, colours), transform=place))
        top += cell.height + 24 + margin
    ground = tag("rect", width=width, height=top, class_="ground")
    words = ". ".join(f"{c.name} cell: {c.words}" for c in cells)
    return svg(width, top, tag("style", FILE) + ground + "".join(found), title, words, "cell") + "\n"


def _content(cell: Cell, colours: Mapping[str, int]) -> str:
    wires = sorted(cell.wires, key=lambda w: not w.collects)
    found = [_wire(w, colours) for w in wires]
    found += [tag("circle", cx=x, cy=y, r=2.6, class_="joint") for x, y in cell.joints]
    return "".join(found + [_box(b, colours) for b in cell.boxes])


def _box(box: Box, colours: Mapping[str, int]) -> str:
    x, y = box.x + box.width / 2, box.y + box.height / 2
    words = box.text if len(box.text) <= LONGEST or box.kind == "end" else box.text[: LONGEST - 1] + "…"
    text = label(x, y + 4, words, "ink halo" if box.kind == "word" else "ink", "middle")
    if box.kind == "word":
        return text
    if box.kind == "node":
        return tag("circle", cx=x, cy=y, r=box.width / 2, class_="node") + text
    class_ = f"pill s{_series(box.text, colours)}" if box.kind == "operation" else "end"
    shape = tag(
        "rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=min(box.height / 2, 8.0), class_=class_
    )
    return shape + text


def _wire(wire: Wire, colours: Mapping[str, int]) -> str:
    points = wire.points
    if wire.curve:
        a, b, c, d = (f"{num(x)} {num(y)}" for x, y in points)
        way = f"M{a} C{b} {c} {d}"
    else:
        way = "M" + " L".join(f"{num(x)} {num(y)}" for x, y in points)
    absent = wire.operation == "none"
    class_ = (
        "collects"
        if wire.collects
        else "trunk"
        if wire.operation is None
        else f"edge s{_series(wire.operation, colours)}"
    )
    stroke = tag("path", d=way, class_="edge absent" if absent else class_)
    return stroke + (_arrow(points[-2], points[-1], class_) if wire.arrow and not absent else "")


def _arrow(before: Point, end: Point, class_: str) -> str:
    length = math.hypot(end[0] - before[0], end[1] - before[1]) or 1.0
    x, y = (end[0] - before[0]) / length, (end[1] - before[1]) / length
    corners = [
        end,
        (end[0] - 7 * x - 3.5 * y, end[1] - 7 * y + 3.5 * x),
        (end[0] - 7 * x + 3.5 * y, end[1] - 7 * y - 3.5 * x),
    ]
    return tag("path", d="M" + " L".join(f"{num(a)} {num(b)}" for a, b in corners) + " Z", class_=f"arrow {class_}")


def _series(operation: str, colours: Mapping[str, int]) -> int:
    return colours.get(operation, 7) % 8
