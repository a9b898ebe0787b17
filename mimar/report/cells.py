"""Where the nodes, operations and edges of a published cell stand: layouts in which no two boxes overlap.

NAS-Bench-201: nodes from left to right, edges as arcs, an operation on each. DARTS: one intermediate node a row, its two
operations above it; an edge that passes rows runs in a lane of its own beside them, the output collects in the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mimar.core.errors import SpaceError
from mimar.space import NASBENCH201_EDGES, Architecture

Point = tuple[float, float]
WIDE, TALL, RADIUS, PITCH, LANE = 92.0, 22.0, 15.0, 104.0, 13.0  # of DARTS: operation, node, row to row, lane


class Box(NamedTuple):
    """A node or an operation, by its corner and size."""

    text: str
    x: float
    y: float
    width: float
    height: float
    kind: str = "node"  # node | end (input or output) | operation | word (an operation without a frame)


class Wire(NamedTuple):
    """A stroke: straight through `points`, or a curve of four; `operation` gives its colour, None is a lane."""

    points: tuple[Point, ...]
    operation: str | None = None
    curve: bool = False
    arrow: bool = True
    collects: bool = False  # on the way to the output


@dataclass
class Cell:
    """A cell laid out: `edges` are (source, target, operation) in words, the rest is the picture."""

    name: str
    width: float
    height: float
    boxes: list[Box] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    joints: list[Point] = field(default_factory=list)
    edges: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The graph in words, for those who cannot see it."""
        return "; ".join(f"{source} → {target}: {operation}" for source, target, operation in self.edges)


def cells(architecture: Mapping[str, Any], layout: object) -> list[Cell]:
    """Return the drawings of an architecture in JSON; none where it does not belong to a published layout."""
    try:
        if layout == "nasbench201":
            return [_nasbench201(Architecture(architecture))]
        genotype = Architecture(architecture).to_genotype()
        return [_darts("normal", genotype.normal), _darts("reduce", genotype.reduce)] if layout == "darts" else []
    except SpaceError:
        return []


def notation(architecture: Mapping[str, Any], layout: object) -> str:
    """Return an architecture in JSON in the published notation of its layout, else as choices and options."""
    try:
        if layout == "nasbench201":
            return Architecture(architecture).to_nasbench201()
        if layout == "darts":
            return str(Architecture(architecture).to_genotype())
    except SpaceError:
        pass
    return ", ".join(f"{name}: {option(value)}" for name, value in architecture.items())


def option(value: Any) -> str:
    """Return the value of a choice as text."""
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def _nasbench201(architecture: Architecture) -> Cell:
    architecture.to_nasbench201()  # raises unless the six edges are there
    prefix = next(iter(architecture)).rpartition("/")[0]
    gap, base, r, wide = 110.0, 146.0, 15.0, 80.0
    cell, across = Cell("cell", 3 * gap + r + 40, base + 88), [r + 4 + i * gap for i in range(4)]
    cell.boxes = [Box(str(i), x - r, base - r, 2 * r, 2 * r) for i, x in enumerate(across)]
    for (i, j), lift in zip(NASBENCH201_EDGES, (0, 52, 0, 106, -52, 0), strict=True):  # how high the arc stands
        operation, a, b = str(architecture[f"{prefix}/{i}-{j}"]), across[i], across[j]
        cell.edges.append((f"node {i}", f"node {j}", operation))
        rim = base - (r if lift > 0 else -r)
        bend, up = 0.22 * (b - a), rim - 4 / 3 * lift
        arc = ((a + 4, rim), (a + bend, up), (b - bend, up), (b - 4, rim))
        cell.wires.append(Wire(arc if lift else ((a + r, base), (b - r, base)), operation, curve=bool(lift)))
        top = rim - lift + 4 if lift < 0 else (rim - lift if lift else base) - 18
        cell.boxes.append(Box(operation, (a + b) / 2 - wide / 2, top, wide, 14, "word"))
    cell.boxes.append(Box("input", across[0] - 19, base + r + 4, 38, 14, "word"))
    cell.boxes.append(Box("output", across[3] - 4, base + r + 4, 38, 14, "word"))  # beside the arc that ends there
    return cell


def _darts(name: str, genes: list[tuple[str, int]]) -> Cell:
    """Lay out a cell whose `genes` are (operation, source) twice for each node from 2 on."""
    last = 1 + len(genes) // 2
    level = [TALL / 2 + 2] * 2 + [96 + PITCH * k for k in range(last - 1)]  # y of the middle of each node
    lanes: dict[int, list[int]] = {-1: [], 1: []}  # of each side, the sources with a lane there, outermost first
    plan = []
    for j in range(2, last + 1):
        pair = sorted(genes[2 * j - 4 : 2 * j - 2], key=lambda gene: gene[1])
        mirrored = pair[0][1] == 1 or (pair[0][1] > 1 and j % 2 == 1)  # the second input of the cell stands right
        for (operation, source), side in zip(pair, (1, -1) if mirrored else (-1, 1), strict=True):
            direct = j == 2 or source == j - 1
            plan.append((source, j, operation, side, direct))
            if not direct and source not in lanes[side]:
                lanes[side] = sorted([*lanes[side], source])
    half = WIDE + 18  # of a row; the lanes stand beside it
    centre = half + LANE * max(len(lanes[-1]), len(lanes[1]) + 1) + 6  # both sides alike, for a centred picture
    cell, foot, collect = Cell(name, 2 * centre, level[-1] + 76), level[-1] + 56, centre + half + LANE * len(lanes[1])
    names = ["c_{k-2}", "c_{k-1}", *(f"node {j}" for j in range(2, last + 1))]
    inputs = [centre - WIDE / 2 - 6, centre + WIDE / 2 + 6]
    cell.boxes = [Box(names[i], x - 32, 2, 64, TALL, "end") for i, x in enumerate(inputs)]
    for y in level[2:]:
        cell.boxes.append(Box(str(level.index(y, 2)), centre - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS))
        cell.wires.append(Wire(((centre + 14, y + 5), (collect, y + 5)), arrow=False, collects=True))
    cell.boxes.append(Box("output: all nodes", centre - 56, foot - TALL / 2, 112, TALL, "end"))
    cell.wires.append(Wire(((collect, level[2] + 5), (collect, foot), (centre + 56, foot)), collects=True))
    for source, j, operation, side, direct in plan:
        cell.edges.append((names[source], names[j], operation))
        middle, y, start = centre + side * (WIDE / 2 + 6), level[j] - 36, level[source]
        cell.boxes.append(Box(operation, middle - WIDE / 2, y - TALL / 2, WIDE, TALL, "operation"))
        cell.wires.append(Wire(((middle, y + TALL / 2), (centre + side * 11, level[j] - 11)), operation))
        head, bend = (middle, y - TALL / 2), (start + RADIUS + y - TALL / 2) / 2
        if direct and source < 2:
            cell.wires.append(Wire(((inputs[source], start + TALL / 2), head), operation))
        elif direct:
            curve = ((centre, start + RADIUS), (centre, bend), (middle, bend), head)
            cell.wires.append(Wire(curve, operation, curve=True))
        else:
            lane = centre + side * (half + LANE * (len(lanes[side]) - 1 - lanes[side].index(source)))
            out = (inputs[source] + side * 32, start) if source < 2 else (centre + side * 14, start - 5)
            cell.wires.append(Wire((out, (lane, out[1]), (lane, y), (middle + side * WIDE / 2, y))))
            cell.joints.append((lane, y))
    return cell
