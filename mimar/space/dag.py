"""Free-form cells: any labelled graph from one input to one output, as in NAS-Bench-101.

V nodes, 0 the input and V − 1 the output; edges lead from lower to higher numbers. A node that is on no way from input
to output is dead: it stands in the architecture, and the network is the same without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, groupby, permutations, product
from typing import Any

from mimar.core.errors import SpaceError, UsageError
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice
from mimar.space.space import Space
from mimar.space.structures import Graph, sequence_number

DEAD = "none"  # the label of a dead node in a graph code
Edges = tuple[tuple[int, int], ...]
LARGEST = 9  # nodes


def dag(nodes: int, operations: Sequence[str], edges: int | None = None) -> Space:
    """Return the space of graphs of `nodes` nodes: choices ``edge/i-j`` in (0, 1) and ``op/k``, of `operations`.

    Constraint: a way leads from input to output, and at most `edges` edges lie on such ways (none: as many as fit).
    Raises SpaceError below two nodes. NAS-Bench-101 (Ying et al., 2019) is 7 nodes, three operations, 9 edges.
    """
    if type(nodes) is not int or not 2 <= nodes <= LARGEST:
        raise SpaceError(f"a free-form cell has between 2 and {LARGEST} nodes, not {nodes!r}")
    choices = [Choice(_edge(i, j), (0, 1)) for i, j in combinations(range(nodes), 2)]
    choices += [Choice(_op(k), tuple(operations)) for k in range(1, nodes - 1)]
    return Space(choices, [Connected(nodes, edges)], structure=Dag(tuple(choices)))


@dataclass(frozen=True)
class Connected:
    """Holds where a way leads from node 0 to node `nodes` − 1, and at most `edges` edges lie on such ways."""

    nodes: int
    edges: int | None = None

    def __call__(self, arch: Mapping[str, Any]) -> bool:
        last = self.nodes - 1
        kept = alive(last, [(i, j) for i, j, name in _names(self.nodes) if arch[name]])
        return bool(kept) and (self.edges is None or len(kept) <= self.edges)


def alive(last: int, edges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the edges, each from a lower to a higher number, that lie on a way from node 0 to node `last`."""
    given = sorted(edges)
    fed = {0}
    for i, j in given:  # by source, so that what feeds a node is settled before it
        if i in fed:
            fed.add(j)
    leading = {last}
    for i, j in reversed(given):
        if j in leading:
            leading.add(i)
    return [(i, j) for i, j in given if i in fed and j in leading]


@dataclass(frozen=True)
class Dag:
    """What the choices of a free-form cell mean; architectures with the same living part are the same network."""

    choices: tuple[Choice, ...]
    layout = "dag"

    @cached_property
    def nodes(self) -> int:
        """The number of nodes, dead ones included."""
        return 2 + sum(c.name.startswith("op/") for c in self.choices)

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """The labels that inner nodes take."""
        return next((c.allowed for c in self.choices if c.name.startswith("op/")), ())

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All labels of graph nodes."""
        return ("input", "output", DEAD, *self.operations)

    @property
    def path_count(self) -> int:
        """The length of a path code: sequences of 0 to V − 2 operations."""
        return sum(len(self.operations) ** length for length in range(self.nodes - 1))

    def parts(self, arch: Mapping[str, Any]) -> tuple[list[str], list[tuple[int, int]]]:
        """Return the labels of all V nodes and all edges, dead ones too."""
        try:
            labels = ["input", *(arch[_op(k)] for k in range(1, self.nodes - 1)), "output"]
            return labels, [(i, j) for i, j, name in _names(self.nodes) if arch[name]]
        except KeyError as error:
            raise SpaceError(f"this is not an architecture of the free-form space: it has no choice {error}") from None

    def architecture(self, labels: Sequence[str], edges: Iterable[tuple[int, int]]) -> Architecture:
        """Return the architecture of V labels and edges; a dead node's label stands for the first operation."""
        if len(labels) != self.nodes:
            raise SpaceError(f"a cell of this space has {self.nodes} nodes, not {len(labels)}")
        held = set(edges)
        made: dict[str, Any] = {name: int((i, j) in held) for i, j, name in _names(self.nodes)}
        inner = enumerate(labels[1:-1], start=1)
        return Architecture.trusted(made | {_op(k): self.operations[0] if o == DEAD else o for k, o in inner})

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the representative of all architectures whose living parts are isomorphic; its dead nodes are last.

        Nodes are ordered by what no numbering changes (longest ways, label, degrees), and those that tie by the least
        list of edges. Exact.
        """
        labels, edges = self.parts(arch)
        return self._placed(*_least(*_pruned(labels, edges)))

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the architecture with its living nodes first, in their order, and no other edge than theirs."""
        labels, edges = self.parts(arch)
        return self._placed(*_pruned(labels, edges))

    def _placed(self, labels: tuple[str, ...], edges: Edges) -> Architecture:
        inner, last = len(labels) - 2, self.nodes - 1
        padded = ["input", *labels[1:-1], *([DEAD] * (self.nodes - 2 - inner)), "output"]
        return self.architecture(padded, [(i, last if j > inner else j) for i, j in edges])

    def enumerate(self) -> Iterator[Architecture] | None:
        """Return None: no order was published."""
        return None

    def paths(self, arch: Architecture) -> list[int]:
        """Number the operation sequences of all ways from input to output."""
        labels, edges = self.parts(arch)
        ways: list[list[tuple[str, ...]]] = [[()]]
        for j in range(1, self.nodes):
            own = () if j == self.nodes - 1 else (labels[j],)
            ways.append([way + own for i in range(j) if (i, j) in edges for way in ways[i]])
        return sorted({sequence_number(way, self.operations) + 1 if way else 0 for way in ways[-1]})

    def graph(self, arch: Architecture) -> Graph:
        """Return V nodes; those that are dead are labelled so and have no edges."""
        labels, edges = self.parts(arch)
        kept = alive(self.nodes - 1, edges)
        living = {0, self.nodes - 1, *(i for edge in kept for i in edge)}
        return [label if k in living else DEAD for k, label in enumerate(labels)], kept

    def ungraph(self, graph: Graph) -> Architecture:
        """Return an architecture of a graph with the labels and places of `graph`."""
        labels, edges = graph
        wrong = [label for label in labels[1:-1] if label != DEAD and label not in self.operations]
        if wrong or any(not 0 <= i < j < self.nodes for i, j in edges):
            raise SpaceError(
                "this is not the graph of a free-form cell: " + (f"label {wrong[0]}" if wrong else "edges")
            )
        return self.architecture(labels, edges)


@lru_cache(maxsize=32)
def _names(nodes: int) -> tuple[tuple[int, int, str], ...]:
    return tuple((i, j, _edge(i, j)) for i, j in combinations(range(nodes), 2))


@lru_cache(maxsize=1024)
def _edge(i: int, j: int) -> str:
    return f"edge/{i}-{j}"


@lru_cache(maxsize=64)
def _op(k: int) -> str:
    return f"op/{k}"


def _pruned(labels: Sequence[str], edges: Iterable[tuple[int, int]]) -> tuple[tuple[str, ...], Edges]:
    """Return the living nodes' labels, renumbered in their order, and the edges between them."""
    last = len(labels) - 1
    kept = alive(last, edges)
    if not kept:
        raise UsageError("no way leads from the input to the output of this cell")
    number = {old: new for new, old in enumerate(sorted({i for edge in kept for i in edge}))}
    return tuple(labels[old] for old in number), tuple((number[i], number[j]) for i, j in kept)


@lru_cache(maxsize=65536)
def _least(labels: tuple[str, ...], edges: Edges) -> tuple[tuple[str, ...], Edges]:
    """Return the same graph under the numbering that `Dag.canonical` describes."""
    n = len(labels)
    depth, height = [0] * n, [0] * n
    for i, j in sorted(edges):
        depth[j] = max(depth[j], depth[i] + 1)
    for i, j in sorted(edges, reverse=True):
        height[i] = max(height[i], height[j] + 1)
    into, out = ([sum(edge[side] == k for edge in edges) for k in range(n)] for side in (1, 0))
    key = {k: (depth[k], -height[k], labels[k], into[k], out[k]) for k in range(1, n - 1)}
    groups = [list(group) for _, group in groupby(sorted(key, key=key.__getitem__), key=key.__getitem__)]
    best: Edges | None = None
    order: tuple[int, ...] = ()
    for tried in product(*(permutations(group) for group in groups)):
        here = (0, *(k for group in tried for k in group), n - 1)
        place = {old: new for new, old in enumerate(here)}
        code = tuple(sorted((place[i], place[j]) for i, j in edges))
        if best is None or code < best:
            best, order = code, here
    return tuple(labels[k] for k in order), best or edges
