"""Where the nodes, operations and edges of a published cell stand: layouts in which no two boxes overlap.

NAS-Bench-201: nodes from left to right, edges as arcs, an operation on each. DARTS: one intermediate node a row, its two
operations above it; an edge that passes rows runs in a lane of its own beside them, the output collects in the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mimar.core.errors import SpaceError
from mimar.space import NASBENCH201_EDGES, Architecture

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A node or an operation, by its corner and size."""

    text: str
    x: float
    y: float
    width: float
    height: float
    kind: str = "node"  # node | end (input or output) | operation | word (an operation without a frame)


@dataclass(frozen=True)
class Wire:
    """A stroke: straight through `points`, or a curve where there are four; with an arrow at its end, or a dot."""

    points: tuple[Point, ...]
    operation: str | None = None  # None: no operation of its own
    curve: bool = False
    arrow: bool = True
    collects: bool = False  # to the output of the cell


@dataclass
class Cell:
    """A cell laid out: `edges` are (source, target, operation) in words, boxes and wires the picture."""

    name: str
    width: float
    height: float
    boxes: list[Box] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    joints: list[Point] = field(default_factory=list)
    edges: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The graph as a sentence for those who cannot see it."""
        return "; ".join(f"{source} → {target}: {operation}" for source, target, operation in self.edges)


def cells(architecture: Mapping[str, Any], layout: str | None) -> list[Cell]:
    """Return the drawings of an architecture in JSON; none for a space without a published layout.

    Raises SpaceError when the architecture does not belong to the layout.
    """
    if layout not in ("nasbench201", "darts"):
        return []
    found = Architecture(architecture)
    if layout == "nasbench201":
        return [_nasbench201(found)]
    genotype = found.to_genotype()
    return [_darts("normal", genotype.normal), _darts("reduce", genotype.reduce)]


def _nasbench201(architecture: Architecture) -> Cell:
    architecture.to_nasbench201()  # raises SpaceError unless the six edges are there
    prefix = next(iter(architecture)).rpartition("/")[0]
    gap, base, r, wide = 114.0, 132.0, 15.0, 80.0
    cell = Cell("cell", 3 * gap + 2 * r + 8, base + 84)
    across = [r + 4 + i * gap for i in range(4)]
    for i, x in enumerate(across):
        cell.boxes.append(Box(str(i), x - r, base - r, 2 * r, 2 * r))
    for (i, j), lift in zip(NASBENCH201_EDGES, (0, 52, 0, 106, -52, 0), strict=True):
        operation = str(architecture[f"{prefix}/{i}-{j}"])
        cell.edges.append((f"node {i}", f"node {j}", operation))
        a, b, up = across[i], across[j], 4 / 3 * lift
        if lift:
            side = r if lift > 0 else -r
            start, end = (a + 4, base - side), (b - 4, base - side)
            bend = (end[0] - start[0]) * 0.22
            points = (start, (a + bend, base - side - up), (b - bend, base - side - up), end)
            middle = base - side - lift
        else:
            points, middle = ((a + r, base), (b - r, base)), base
        cell.wires.append(Wire(points, operation, curve=bool(lift)))
        top = middle - 18 if lift >= 0 else middle + 4
        cell.boxes.append(Box(operation, (a + b) / 2 - wide / 2, top, wide, 14, "word"))
    cell.boxes.append(Box("input", across[0] - r - 2, base + r + 4, 34, 14, "word"))
    cell.boxes.append(Box("output", across[3] - r - 6, base + r + 4, 38, 14, "word"))
    return cell


WIDE, TALL, RADIUS, PITCH, LANE = 92.0, 22.0, 15.0, 104.0, 13.0


class _Lanes:
    """Vertical tracks beside the rows, on the left (−1) and on the right (+1): a track a source, reused when free."""

    def __init__(self) -> None:
        self.spans: dict[tuple[int, int], list[float]] = {}  # (side, source): from y to y

    def reserve(self, side: int, source: int, start: float, end: float) -> None:
        span = self.spans.setdefault((side, source), [start, end])
        span[1] = max(span[1], end)

    def assign(self) -> dict[tuple[int, int], int]:
        """Return the number of each track, counted from the rows outwards; long tracks lie outside."""
        found: dict[tuple[int, int], int] = {}
        for key, span in sorted(self.spans.items(), key=lambda item: (item[1][1] - item[1][0], item[0])):
            taken = {
                found[other]
                for other, theirs in self.spans.items()
                if other in found and other[0] == key[0] and theirs[0] <= span[1] and span[0] <= theirs[1]
            }
            longest = max(taken, default=-1)
            found[key] = longest + 1
        return found


def _sides(sources: list[int], row: int) -> list[int]:
    """Return on which side of the row the operation of each of two increasing sources stands."""
    first, second = sources
    if first == 1 or (second == row - 1 and first % 2 == 1):
        return [1, -1]  # the second cell input stands on the right
    return [-1, 1]


def _darts(name: str, genes: list[tuple[str, int]]) -> Cell:
    rows = [genes[k : k + 2] for k in range(0, len(genes), 2)]
    names = ["c_{k-2}", "c_{k-1}", *(f"node {j}" for j in range(2, 2 + len(rows)))]
    level = [TALL / 2 + 2] * 2 + [96.0 + PITCH * k for k in range(len(rows))]  # y of the middle of each node
    lanes, plan = _Lanes(), []
    for j, pair in enumerate(rows, 2):
        pair = sorted(pair, key=lambda gene: gene[1])
        for (operation, source), side in zip(pair, _sides([i for _, i in pair], j), strict=True):
            direct = source == j - 1 if j > 2 else True
            plan.append((source, j, operation, side, direct))
            if not direct:
                lanes.reserve(side, source, level[source], level[j] - 36)
    tracks = lanes.assign()
    outside = {side: 1 + max((t for (s, _), t in tracks.items() if s == side), default=-1) for side in (-1, 1)}
    centre = WIDE + 12 + LANE * max(outside[-1], outside[1] + 1) + 8  # the same on both sides, for a centred picture
    cell = Cell(name, 2 * centre, level[-1] + 76)
    collect = centre + WIDE + 10 + LANE * (outside[1] + 1)
    for i in (0, 1):
        x = centre + (-1, 1)[i] * (WIDE / 2 + 6)
        cell.boxes.append(Box(names[i], x - 32, level[i] - TALL / 2, 64, TALL, "end"))
    for j in range(2, 2 + len(rows)):
        cell.boxes.append(Box(str(j), centre - RADIUS, level[j] - RADIUS, 2 * RADIUS, 2 * RADIUS))
        y = level[j] + 5
        cell.wires.append(Wire(((centre + 14, y), (collect, y)), arrow=False, collects=True))
    foot = level[-1] + 56
    cell.boxes.append(Box("output: all nodes", centre - 56, foot - TALL / 2, 112, TALL, "end"))
    cell.wires.append(Wire(((collect, level[2] + 5), (collect, foot), (centre + 56, foot)), collects=True))
    for source, j, operation, side, direct in plan:
        cell.edges.append((names[source], names[j], operation))
        _edge(cell, centre, level, (source, j, operation, side), None if direct else tracks[side, source])
    return cell


def _edge(cell: Cell, centre: float, level: list[float], edge: tuple[int, int, str, int], track: int | None) -> None:
    """Draw source → operation → node; `track` is the lane of an edge that passes rows."""
    source, j, operation, side = edge
    middle, y = centre + side * (WIDE / 2 + 6), level[j] - 36.0
    cell.boxes.append(Box(operation, middle - WIDE / 2, y - TALL / 2, WIDE, TALL, "operation"))
    start = (middle, y + TALL / 2)
    cell.wires.append(Wire((start, (centre + side * 11.5, level[j] - 11.5)), operation))
    if track is None and source < 2:
        begin = centre + (-1, 1)[source] * (WIDE / 2 + 6)
        cell.wires.append(Wire(((begin, level[source] + TALL / 2), (middle, y - TALL / 2)), operation))
    elif track is None:
        foot, head = level[source] + RADIUS, y - TALL / 2
        bend = (foot + head) / 2
        cell.wires.append(Wire(((centre, foot), (centre, bend), (middle, bend), (middle, head)), operation, curve=True))
    else:
        lane, up = centre + side * (WIDE + 10 + LANE * (track + 0.6)), -5.0 if source > 1 else 0.0
        reach = WIDE / 2 + 6 + 32 if source < 2 else 14.0
        out = (centre + side * reach, level[source] + up)
        end = (middle + side * WIDE / 2, y)
        cell.wires.append(Wire((out, (lane, out[1]), (lane, y), end), None))
        cell.joints.append((lane, y))
