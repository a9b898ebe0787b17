"""Architectures as graphs to be edited, and the crossover along a shortest edit path between two of them.

What a node is called must not matter: a cell is drawn so that architectures that differ in the numbering of their nodes
alone are isomorphic. Spaces without a graph, or with graphs too large for an exact path, are edited decision by decision.
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any

from mimar.core.errors import SpaceError
from mimar.core.streams import Draws
from mimar.space.architecture import Architecture
from mimar.space.dag import Dag
from mimar.space.edit import ANCHORS, Sketch, apply, distance, path, shuffled, topological
from mimar.space.formats import NASBENCH201_EDGES
from mimar.space.space import Space
from mimar.space.structures import Darts, NasBench201

FREE_NODES = 8  # more nodes without a fixed place take too long for an exact path
NODE = "node"


@singledispatch
def sketch(structure: Any, arch: Architecture) -> list[Sketch] | None:
    """Return the cells of an architecture as graphs; None where the structure gives none.

    By default the graph code: operations on nodes, edges alike.
    """
    if structure is None:
        return None
    labels, edges = structure.graph(arch)
    return [Sketch(tuple(labels), {(i, j): "" for i, j in edges})]


@singledispatch
def unsketch(structure: Any, cells: list[Sketch]) -> Architecture:
    """Return an architecture whose sketch is isomorphic to `cells`; raises SpaceError where there is none."""
    (cell,) = cells
    found: Architecture = structure.ungraph((list(cell.labels), sorted(cell.edges)))
    return found


@sketch.register
def _(structure: NasBench201, arch: Architecture) -> list[Sketch]:
    """Four nodes; an edge for every operation but none."""
    given = {(i, j): arch[f"{structure.prefix}/{i}-{j}"] for i, j in NASBENCH201_EDGES}
    return [Sketch(("input", NODE, NODE, "output"), {edge: o for edge, o in given.items() if o != "none"})]


@unsketch.register
def _(structure: NasBench201, cells: list[Sketch]) -> Architecture:
    (cell,) = cells
    edges = _numbered(cell).edges
    return Architecture.trusted(
        {f"{structure.prefix}/{i}-{j}": edges.get((i, j), "none") for i, j in NASBENCH201_EDGES}
    )


@sketch.register
def _(structure: Darts, arch: Architecture) -> list[Sketch]:
    """For each cell its two inputs and its nodes, without the output, which takes all of them."""
    drawn = []
    for name in structure.cells:
        nodes = range(2, 2 + structure.nodes)
        pairs = ((int(i), j) for j in nodes for i in arch[f"{name}/node{j}"])
        edges = {(i, j): arch[f"{name}/{i}-{j}"] for i, j in pairs}
        drawn.append(Sketch(("input0", "input1", *(NODE,) * structure.nodes), edges))
    return drawn


@unsketch.register
def _(structure: Darts, cells: list[Sketch]) -> Architecture:
    made: dict[str, Any] = {}
    for name, cell in zip(structure.cells, map(_numbered, cells), strict=True):
        for j in range(2, 2 + structure.nodes):
            inputs = sorted(i for i, k in cell.edges if k == j)
            made[f"{name}/node{j}"] = tuple(map(str, inputs))
            made |= {f"{name}/{i}-{j}": cell.edges[i, j] for i in inputs}
    return Architecture.trusted(made)


@sketch.register
def _(structure: Dag, arch: Architecture) -> list[Sketch]:
    """All nodes, dead ones too, as in the released code of the paper."""
    labels, edges = structure.parts(arch)
    return [Sketch(tuple(labels), dict.fromkeys(edges, ""))]


@unsketch.register
def _(structure: Dag, cells: list[Sketch]) -> Architecture:
    (cell,) = cells
    ordered = _numbered(cell)
    return structure.architecture(ordered.labels, ordered.edges)


def _numbered(cell: Sketch) -> Sketch:
    """Return a cell with inputs first, an output last, and every edge from a lower to a higher number."""
    order = topological(cell)
    if order is None:
        raise SpaceError("the edits close a circle")
    labels = cell.labels
    first = sorted((k for k in order if labels[k].startswith(ANCHORS[0])), key=labels.__getitem__)
    last = [k for k in order if labels[k].startswith(ANCHORS[1])]
    order = [*first, *(k for k in order if k not in first and k not in last), *last]
    place = {old: new for new, old in enumerate(order)}
    edges = {(place[i], place[j]): label for (i, j), label in cell.edges.items()}
    return Sketch(tuple(labels[k] for k in order), edges)


def edit_distance(space: Space, a: Architecture, b: Architecture) -> int:
    """Return the least number of edits between two architectures: of their graphs, or of single decisions."""
    first, second = _drawn(space, a), _drawn(space, b)
    if first is None or second is None:
        return len(_differing(a, b))
    return sum(distance(x, y) for x, y in zip(first, second, strict=True))


def edit_crossover(
    space: Space, a: Architecture, b: Architecture, draws: Draws, *, rate: float = 0.5, tries: int = 50
) -> Architecture | None:
    """Return a child ⌈rate · d⌉ edits from one parent on a shortest path of d to the other; None where `tries` gave none.

    The edits are a random subset of a random shortest path, applied to the larger parent (of equal ones `a`); children
    that are no architecture of the space or the same network as a parent are drawn again. For the child c,
    d(a, c) + d(c, b) = d(a, b). How the nodes of a parent are numbered makes no difference.
    """
    known = {space.canonical(a), space.canonical(b)}
    first, second = _drawn(space, a), _drawn(space, b)
    along = None if first is None or second is None else _Path(first, second, draws)
    for _ in range(tries):
        child = along.child(space.structure, rate, draws) if along else _decided(space, a, b, draws, rate)
        if child is not None and space.valid(child) and space.canonical(child) not in known:
            return child
    return None


class _Path:
    """A random shortest path from the larger of two lists of cells to the other, under random numberings."""

    def __init__(self, first: list[Sketch], second: list[Sketch], draws: Draws) -> None:
        if sum(len(g.labels) for g in first) < sum(len(g.labels) for g in second):
            first, second = second, first
        self.cells = [shuffled(g, draws) for g in first]
        goals = [shuffled(g, draws) for g in second]
        both = enumerate(zip(self.cells, goals, strict=True))
        self.edits = [(k, edit) for k, (cell, goal) in both for edit in path(cell, goal)]

    def child(self, structure: Any, rate: float, draws: Draws) -> Architecture | None:
        """Return what a random subset of the edits leads to; None where that is no architecture."""
        taken = draws.sample(len(self.edits), math.ceil(rate * len(self.edits)))
        edited: list[Sketch] = []
        for k, cell in enumerate(self.cells):
            after = apply(cell, [self.edits[i][1] for i in taken if self.edits[i][0] == k])
            if after is None:
                return None
            edited.append(after)
        try:
            return unsketch(structure, edited)
        except SpaceError:
            return None


def _drawn(space: Space, arch: Architecture) -> list[Sketch] | None:
    cells = sketch(space.structure, arch)
    free = [sum(not label.startswith(ANCHORS) for label in g.labels) for g in cells or []]
    return None if max(free, default=FREE_NODES + 1) > FREE_NODES else cells


def _differing(a: Architecture, b: Architecture) -> list[str]:
    """Return the names of the decisions that only one parent takes, or that they take differently."""
    return sorted(name for name in {*a, *b} if name not in a or name not in b or a[name] != b[name])


def _decided(space: Space, a: Architecture, b: Architecture, draws: Draws, rate: float) -> Architecture:
    """Return `a` with a random subset of the decisions in which `b` differs; what they activate is taken from a parent."""
    differing = _differing(a, b)
    values = dict(a)
    for i in draws.sample(len(differing), math.ceil(rate * len(differing))):
        if differing[i] in b:
            values[differing[i]] = b[differing[i]]
    sampled = space.filler(draws)
    return space.complete(values, lambda choice: b[choice.name] if choice.name in b else sampled(choice))
