"""A cell as SVG: for the page, where the style sheet is the page's, or as a file of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mimar.report.cells import Box, Cell, Wire
from mimar.report.markup import Markup, join, label, num, path, svg, tag
from mimar.report.style import FILE


def draw(cell: Cell, colours: Mapping[str, int]) -> Markup:
    """Return the picture of one cell; `colours` gives the series of each operation."""
    return svg((cell.width, cell.height), [_content(cell, colours)], f"{cell.name} cell", cell.words, "cell")


def alone(cells: Sequence[Cell], colours: Mapping[str, int], title: str) -> Markup:
    """Return the cells below each other as an SVG file with its own colours on its own ground."""
    width, top, found = max(c.width for c in cells) + 24, 12.0, []
    for cell in cells:
        found.append(label(12, top + 12, f"{cell.name} cell" if len(cells) > 1 else title, "ink strong", size=13))
        place = f"translate({num((width - cell.width) / 2)} {num(top + 24)})"
        found.append(tag("g", _content(cell, colours), transform=place))
        top += cell.height + 36
    ground = [tag("style", Markup(FILE)), tag("rect", width=width, height=top, class_="ground")]
    words = ". ".join(f"{c.name} cell: {c.words}" for c in cells)
    return svg((width, top), [*ground, *found], title, words, "cell") + "\n"


def _content(cell: Cell, colours: Mapping[str, int]) -> Markup:
    wires = [_wire(w, colours) for w in sorted(cell.wires, key=lambda w: not w.collects)]
    joints = [tag("circle", cx=x, cy=y, r=2.6, class_="joint") for x, y in cell.joints]
    return join(*wires, *joints, *(_box(b, colours) for b in cell.boxes))


def _box(box: Box, colours: Mapping[str, int]) -> Markup:
    x, y, name = box.x + box.width / 2, box.y + box.height / 2, box.text
    words = name if len(name) <= 15 or box.kind == "end" else f"{name[:14]}…"  # as many letters as fit the box
    text = label(x, y + 4, words, "ink halo" if box.kind == "word" else "ink", "middle")
    if box.kind == "word":
        return text
    if box.kind == "node":
        return tag("circle", cx=x, cy=y, r=box.width / 2, class_="node") + text
    class_ = f"pill s{colours.get(name, 7)}" if box.kind == "operation" else "end"
    return tag("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=8.0, class_=class_) + text


def _wire(wire: Wire, colours: Mapping[str, int]) -> Markup:
    colour = "trunk" if wire.operation is None else f"edge s{colours.get(wire.operation, 7)}"
    class_ = "collects" if wire.collects else "edge absent" if wire.operation == "none" else colour
    (x, y), (a, b) = wire.points[-1], wire.points[-2]
    stroke = path(wire.points, class_)
    if wire.curve:
        way = [f"{num(x)} {num(y)}" for x, y in wire.points]
        stroke = tag("path", d=f"M{way[0]} C{' '.join(way[1:])}", class_=class_)
    if not wire.arrow or wire.operation == "none":
        return stroke
    length = math.hypot(x - a, y - b) or 1.0
    u, v = 3.5 * (x - a) / length, 3.5 * (y - b) / length
    return stroke + path([(x, y), (x - 2 * u - v, y - 2 * v + u), (x - 2 * u + v, y - 2 * v - u)], f"arrow {class_}")
