"""Architectures as graphs of what they compute: operations that do nothing are gone.

A graph is what a structure of the space returns, operations on nodes. Two cells that are the same network up to
skip-connections, zeros and dead branches have the same contracted graph.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

from mimar.core.streams import Draws
from mimar.space import Architecture, Space, Structure
from mimar.space.known import SKIPS

ZEROS = ("none",)
LOOKED = 8  # architectures drawn to see which choices a structure does not read
KEPT = 30_000  # graphs of a space in memory


class Contracted(NamedTuple):
    """The label of every node, and the nodes that it feeds, increasing; nodes are in topological order."""

    labels: tuple[str, ...]
    after: tuple[tuple[int, ...], ...]

    @property
    def before(self) -> tuple[tuple[int, ...], ...]:
        """The nodes that feed each node, increasing."""
        found: list[list[int]] = [[] for _ in self.labels]
        for v, targets in enumerate(self.after):
            for u in targets:
                found[u].append(v)
        return tuple(map(tuple, found))


def has_graph(space: Space) -> bool:
    """Tell whether the architectures of a space are graphs."""
    return space.structure is not None and bool(space.structure.vocabulary)


def unread(space: Space) -> tuple[str, ...]:
    """Return the choices that the graphs of a space do not show, by what its structure reads back from them; all without graphs."""
    if not has_graph(space):
        return tuple(c.name for c in space.ordered)
    assert space.structure is not None
    draws = Draws(0, "unread")
    found: set[str] = set()
    for _ in range(LOOKED):
        arch = space.sample(draws)
        found |= set(arch) - set(space.structure.ungraph(space.structure.graph(arch)))
    return tuple(c.name for c in space.ordered if c.name in found)


def reader(space: Space) -> Callable[[Architecture], Contracted]:
    """Return `contracted` on a space with graphs, which remembers the last 30,000 answers for all who ask for it."""
    structure = space.structure
    assert structure is not None
    if space not in _READERS:
        _READERS[space] = lru_cache(KEPT)(lambda arch: contracted(structure, arch))
    return _READERS[space]


def contracted(structure: Structure, arch: Architecture) -> Contracted:
    """Return the graph of an architecture after three reductions.

    1. A node that passes its input on (skip_connect) is replaced by edges from all that feed it to all that it feeds.
    2. A node that is zero (none) is removed.
    3. A node that no input reaches, or from which no output is reached, is removed; inputs and outputs stay.
    Edges have no multiplicity. In a graph of several cells, which are its weakly connected parts, labels begin with the
    number of the cell: "1:sum". Ru et al., "NAS-BOWL", ICLR 2021 (whose release does the third once, not to the end).
    """
    labels, edges = structure.graph(arch)
    labels = _with_cell(labels, edges)
    after: list[set[int]] = [set() for _ in labels]
    before: list[set[int]] = [set() for _ in labels]
    for a, b in edges:
        after[a].add(b)
        before[b].add(a)
    kept = []
    for v, label in enumerate(labels):
        word = label.rpartition(":")[2]
        if word not in SKIPS and word not in ZEROS:
            kept.append(v)
            continue
        for a in before[v]:
            after[a].discard(v)
            after[a] |= after[v] if word in SKIPS else set()
        for b in after[v]:
            before[b].discard(v)
            before[b] |= before[v] if word in SKIPS else set()
    alive = _alive(labels, kept, after, before)
    number = {v: i for i, v in enumerate(alive)}
    return Contracted(
        tuple([labels[v] for v in alive]),
        tuple([tuple(sorted([number[b] for b in after[v] if b in number])) for v in alive]),
    )


def whole(space: Space, arch: Architecture) -> Contracted:
    """Return the graph of an architecture as the space encodes it, nothing contracted."""
    assert space.structure is not None
    labels, edges = space.structure.graph(arch)
    after: list[list[int]] = [[] for _ in labels]
    for a, b in edges:
        after[a].append(b)
    return Contracted(tuple(labels), tuple([tuple(sorted(targets)) for targets in after]))


def _alive(labels: list[str], kept: list[int], after: list[set[int]], before: list[set[int]]) -> list[int]:
    """Return the nodes on a way from an input to an output, and all of these; nodes are in topological order."""
    ends = [labels[v].rpartition(":")[2] for v in range(len(labels))]
    fed = {v for v in kept if ends[v].startswith("input")}
    leading = {v for v in kept if ends[v].startswith("output")}
    always = fed | leading
    for v in kept:
        if before[v] & fed:
            fed.add(v)
    for v in reversed(kept):
        if after[v] & leading:
            leading.add(v)
    return [v for v in kept if v in always or (v in fed and v in leading)]


def _with_cell(labels: list[str], edges: list[tuple[int, int]]) -> list[str]:
    """Put the number of its weakly connected part before each label, where there are several."""
    part = list(range(len(labels)))
    for a, b in edges:
        if part[a] != part[b]:
            low, high = sorted((part[a], part[b]))
            part = [low if p == high else p for p in part]
    number = {p: i for i, p in enumerate(sorted({part[v] for edge in edges for v in edge}))}
    if len(number) < 2:
        return labels
    return [f"{number[p]}:{label}" if p in number else label for p, label in zip(part, labels, strict=True)]


_READERS: WeakKeyDictionary[Space, Callable[[Architecture], Contracted]] = WeakKeyDictionary()
