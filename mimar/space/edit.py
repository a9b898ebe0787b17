"""Shortest edit paths between small labelled graphs: exact, and what a part of such a path leads to.

Relabelling a node or an edge, adding or deleting an edge, deleting or adding a node cost 1 each; inputs and outputs stay.
The distance is the least number of edits that make one graph isomorphic to the other; a path is such a set of edits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mimar.core.errors import SpaceError
from mimar.core.streams import Draws

ANCHORS = ("input", "output")  # how the labels of nodes begin that are never edited


class Sketch(NamedTuple):
    """A graph to be edited: a label for every node, and for every directed edge (from, to) its label."""

    labels: tuple[str, ...]
    edges: dict[tuple[int, int], str]


class Edit(NamedTuple):
    """One edit of a graph: `kind`, the node or edge that it concerns, and the new label (None: deleted)."""

    kind: str  # "node" or "edge"
    place: tuple[int, ...]
    label: str | None


def distance(a: Sketch, b: Sketch) -> int:
    """Return the edit distance; symmetric, 0 for isomorphic graphs, with triangle inequality."""
    return len(path(*sorted((a, b), key=lambda g: -len(g.labels))))


def path(a: Sketch, b: Sketch) -> list[Edit]:
    """Return the edits of a shortest path from `a` to a graph isomorphic to `b`, in terms of the nodes of `a`.

    `a` has at least as many nodes as `b`, so that no node is added: a path that deletes one and adds another is never
    shortest. Branch and bound over the assignments of nodes; exponential, in milliseconds for up to seven free nodes.
    Raises SpaceError where `a` is smaller, or inputs and outputs differ.
    """
    if len(a.labels) < len(b.labels):
        raise SpaceError(f"a path starts at the larger graph; this one has {len(a.labels)} nodes of {len(b.labels)}")
    mapping = _Assignment(a, b).best()
    edits = []
    back = {v: u for u, v in mapping.items() if v is not None}
    wanted = {(back[i], back[j]): label for (i, j), label in b.edges.items()}
    for place in sorted({*a.edges, *wanted}):
        if a.edges.get(place) != wanted.get(place):
            edits.append(Edit("edge", place, wanted.get(place)))
    for u, v in sorted(mapping.items()):
        if v is None or a.labels[u] != b.labels[v]:
            edits.append(Edit("node", (u,), None if v is None else b.labels[v]))
    return edits


def apply(a: Sketch, edits: Iterable[Edit]) -> Sketch | None:
    """Return the graph after some edits of a path; None where a node would go that still has edges."""
    labels: list[str | None] = list(a.labels)
    edges = dict(a.edges)
    for edit in edits:
        if edit.kind == "node":
            labels[edit.place[0]] = edit.label
        elif edit.label is None:
            del edges[edit.place[0], edit.place[1]]
        else:
            edges[edit.place[0], edit.place[1]] = edit.label
    if any(labels[i] is None or labels[j] is None for i, j in edges):
        return None
    kept = {old: new for new, old in enumerate(k for k, label in enumerate(labels) if label is not None)}
    return Sketch(
        tuple(label for label in labels if label is not None),
        {(kept[i], kept[j]): label for (i, j), label in edges.items()},
    )


def shuffled(sketch: Sketch, draws: Draws) -> Sketch:
    """Return the graph under a random numbering, so that what is done to it cannot depend on the one it came with."""
    n = len(sketch.labels)
    place = draws.sample(n, n)
    labels = [""] * n
    for old, new in enumerate(place):
        labels[new] = sketch.labels[old]
    return Sketch(tuple(labels), {(place[i], place[j]): label for (i, j), label in sketch.edges.items()})


def topological(sketch: Sketch) -> list[int] | None:
    """Return the nodes, each after those that lead to it and otherwise in their order; None where there is a circle."""
    left = list(range(len(sketch.labels)))
    order: list[int] = []
    while left:
        free = next((k for k in left if not any(j == k and i in left for i, j in sketch.edges)), None)
        if free is None:
            return None
        order.append(free)
        left.remove(free)
    return order


class _Assignment:
    """The search for the best assignment of the nodes of `a` to those of `b`, anchors to their likes, None to delete."""

    def __init__(self, a: Sketch, b: Sketch) -> None:
        self.a, self.b = a, b
        places = {label: v for v, label in enumerate(b.labels) if label.startswith(ANCHORS)}
        self.fixed = {u: places.get(label, -1) for u, label in enumerate(a.labels) if label.startswith(ANCHORS)}
        if sorted(self.fixed.values()) != sorted(places.values()):
            raise SpaceError("graphs with other inputs or outputs have no edit path between them")
        self.free = [v for v in range(len(b.labels)) if v not in places.values()]
        ends = Counter(k for edge in a.edges for k in edge)
        nodes = sorted((u for u in range(len(a.labels)) if u not in self.fixed), key=lambda u: -ends[u])
        self.order = [*self.fixed, *nodes]
        self.least: float = float("inf")
        self.found: dict[int, int | None] = {}

    def best(self) -> dict[int, int | None]:
        cost = 0
        mapping: dict[int, int | None] = {}
        for u, v in self.fixed.items():
            mapping[u] = v
            cost += self._edges(u, v, mapping)
        self._extend(len(mapping), mapping, self.free, cost)
        return self.found

    def _extend(self, depth: int, mapping: dict[int, int | None], free: list[int], cost: int) -> None:
        if cost + self._bound(depth, free) >= self.least:
            return
        if depth == len(self.order):
            self.least, self.found = cost, dict(mapping)
            return
        u = self.order[depth]
        steps = []
        for v in free:
            mapping[u] = v
            steps.append((int(self.a.labels[u] != self.b.labels[v]) + self._edges(u, v, mapping), v))
        for step, v in sorted(steps):
            mapping[u] = v
            self._extend(depth + 1, mapping, [w for w in free if w != v], cost + step)
        if len(self.order) - depth > len(free):
            mapping[u] = None
            self._extend(depth + 1, mapping, free, cost + 1 + self._edges(u, None, mapping))
        del mapping[u]

    def _edges(self, u: int, v: int | None, mapping: dict[int, int | None]) -> int:
        """Return the edits of the edges between u and the nodes before it."""
        a, b, cost = self.a.edges, self.b.edges, 0
        for w, x in mapping.items():
            if w == u:
                continue
            gone = v is None or x is None
            cost += a.get((u, w)) != (None if gone else b.get((v, x)))  # type: ignore[arg-type]
            cost += a.get((w, u)) != (None if gone else b.get((x, v)))  # type: ignore[arg-type]
        return cost

    def _bound(self, depth: int, free: Sequence[int]) -> int:
        """Return what the nodes to come cost at least: by their labels, and by how many edges they bring."""
        left = self.order[depth:]
        same = Counter(self.a.labels[u] for u in left) & Counter(self.b.labels[v] for v in free)
        ours, theirs = set(left), set(free)
        mine = Counter(label for (i, j), label in self.a.edges.items() if i in ours or j in ours)
        other = Counter(label for (i, j), label in self.b.edges.items() if i in theirs or j in theirs)
        alike = (mine & other).total()
        return len(left) - same.total() + max(mine.total(), other.total()) - alike
