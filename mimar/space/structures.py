"""What the choices of the published cell spaces mean as graphs: canonical forms, simplification, paths, graph codes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise, permutations, product
from typing import Any, Protocol

from mimar.core.errors import SpaceError, nearest
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice
from mimar.space.formats import NASBENCH201_EDGES, NASBENCH201_OPERATIONS

RECIPE = "recipe/"  # what the names of choices begin with that are not the network's
Graph = tuple[list[str], list[tuple[int, int]]]  # the label of every node, and directed edges between node numbers
Cell = tuple[tuple[tuple[int, str], ...], ...]  # for each intermediate node its (input, operation) pairs, by input


class Structure(Protocol):
    """What a space asks about its architectures as graphs."""

    @property
    def layout(self) -> str | None:
        """The published name of the layout, or None."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All labels of graph nodes."""

    @property
    def path_count(self) -> int:
        """The length of a path code."""

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the representative of the architectures that are the same network."""

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the architecture without dead edges and nodes."""

    def enumerate(self) -> Iterator[Architecture] | None:
        """Yield all architectures in the published order; None where none was published."""

    def paths(self, arch: Architecture) -> list[int]:
        """Return the numbers, below `path_count`, of the operation sequences from an input to the output."""

    def graph(self, arch: Architecture) -> Graph:
        """Return the architecture as a graph with operations on its nodes."""

    def ungraph(self, graph: Graph) -> Architecture:
        """Return the architecture of a graph."""


@dataclass(frozen=True)
class NasBench201:
    """A NAS-Bench-201 cell: nodes 0 (input) to 3 (output), an operation on each of the six edges ``prefix/i-j``."""

    prefix: str = "cell"
    layout = "nasbench201"
    vocabulary = ("input", "output", *NASBENCH201_OPERATIONS)
    path_count = 4 + 4**2 + 4**3

    def _operations(self, arch: Mapping[str, Any]) -> tuple[str, ...]:
        try:
            return tuple([arch[f"{self.prefix}/{i}-{j}"] for i, j in NASBENCH201_EDGES])
        except KeyError as error:
            raise SpaceError(
                f"this is not an architecture of the NAS-Bench-201 space: it has no choice {error}"
            ) from None

    def _architecture(self, operations: Sequence[str]) -> Architecture:
        names = [f"{self.prefix}/{i}-{j}" for i, j in NASBENCH201_EDGES]
        return Architecture.trusted(dict(zip(names, operations, strict=True)))

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the cell of lowest official index whose string under the benchmark's published rule is the same.

        The rule (its variant that treats zeros) writes a node as the sorted sum of its inputs, an edge as
        ``(source)@operation``; skip_connect writes the source itself, an edge that is none or leaves a node written ``#``
        writes ``#``. It has 6,466 classes; a node with two zero inputs is ``#+#``, which it does not treat as zero.
        """
        return self._architecture(_representatives()[_unique(self._operations(arch))])

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the cell with "none" on every edge that leaves a node without input or enters one without way to the output.

        The function of the cell is the same: an edge without way to the output is never used, and an edge from a node
        without input carries a constant. That constant is exactly zero unless a batch-norm on it has a bias, or running
        statistics from other architectures in evaluation mode. Nothing else is rewritten: skip_connect stays, and no
        operation moves to another edge, so trained weights keep their places. Hence it leaves fewer classes than
        `canonical` (6,285 after both), but cells that `canonical` joins by reading through a skip_connect can stay apart.
        """
        live = dict(zip(NASBENCH201_EDGES, self._operations(arch), strict=True))
        fed, leading = {0}, {3}
        for (i, j), operation in live.items():  # edges are ordered by target, so sources are settled first
            if operation != "none" and i in fed:
                fed.add(j)
        for (i, j), operation in reversed(live.items()):
            if operation != "none" and j in leading:
                leading.add(i)
        return self._architecture([o if i in fed and j in leading else "none" for (i, j), o in live.items()])

    def enumerate(self) -> Iterator[Architecture]:
        """Yield the 15,625 cells by the benchmark's official index."""
        return map(self._architecture, _official())

    def paths(self, arch: Architecture) -> list[int]:
        """Number the operation sequences of the four ways 0-3, 0-1-3, 0-2-3, 0-1-2-3 that contain no none."""
        operations = dict(zip(NASBENCH201_EDGES, self._operations(arch), strict=True))
        found = set()
        for way in ((0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)):
            sequence = [operations[edge] for edge in pairwise(way)]
            if "none" not in sequence:
                found.add(sequence_number(sequence, NASBENCH201_OPERATIONS[1:]))
        return sorted(found)

    def graph(self, arch: Architecture) -> Graph:
        """Return input, six operation nodes and output; an operation feeds those whose edge starts where its own ends."""
        labels = ["input", *self._operations(arch), "output"]
        spans = [(-1, 0), *NASBENCH201_EDGES, (3, 4)]
        edges = [(a, b) for a, (_, end) in enumerate(spans) for b, (start, _) in enumerate(spans) if end == start]
        return labels, edges

    def ungraph(self, graph: Graph) -> Architecture:
        """Return the cell whose operations are the six inner labels."""
        labels = graph[0]
        if len(labels) != 8 or any(label not in NASBENCH201_OPERATIONS for label in labels[1:-1]):
            raise SpaceError(f"a NAS-Bench-201 graph is input, six operations, output; these labels are {labels}")
        return self._architecture(labels[1:-1])


def _unique(operations: tuple[str, ...]) -> str:
    """Write the output node by the benchmark's rule."""
    nodes = ["0"]
    edges = iter(operations)
    for j in (1, 2, 3):
        terms = []
        for i in range(j):
            operation = next(edges)
            if operation == "none" or nodes[i] == "#":
                terms.append("#")
            elif operation == "skip_connect":
                terms.append(nodes[i])
            else:
                terms.append(f"({nodes[i]})@{operation}")
        nodes.append("+".join(sorted(terms)))
    return nodes[3]


@lru_cache(maxsize=1)
def _official() -> tuple[tuple[str, ...], ...]:
    """Return all cells by official index: the lexicographic product as the benchmark's authors shuffled it (seed 88)."""
    cells = list(product(NASBENCH201_OPERATIONS, repeat=len(NASBENCH201_EDGES)))
    random.Random(88).shuffle(cells)
    return tuple(cells)


@lru_cache(maxsize=1)
def _representatives() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for operations in _official():
        found.setdefault(_unique(operations), operations)
    return found


@dataclass(frozen=True)
class Darts:
    """DARTS cells, normal and reduce or one of them: inputs 0 and 1, then nodes that each take two earlier ones; the output joins all nodes but inputs."""

    choices: tuple[Choice, ...]
    layout = "darts"

    @cached_property
    def nodes(self) -> int:
        """The number of intermediate nodes of a cell."""
        return sum(c.name.startswith(f"{self.cells[0]}/node") for c in self.choices)

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The names of the cells; a shallow network may have only one kind."""
        return tuple(name for name in ("normal", "reduce") if any(c.name == f"{name}/node2" for c in self.choices))

    @cached_property
    def _allowed(self) -> dict[str, tuple[str, ...]]:
        return {c.name: c.allowed for c in self.choices if c.kind == "one"}

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """All operations that an architecture can have, in order of their first appearance."""
        return tuple(dict.fromkeys(o for options in self._allowed.values() for o in options))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All labels of graph nodes."""
        return ("input0", "input1", "sum", "output", *self.operations)

    @property
    def path_count(self) -> int:
        """The length of a path code: (cell, input, sequence of 1 to `nodes` operations)."""
        return 2 * len(self.cells) * self._sequences

    @cached_property
    def _sequences(self) -> int:
        return sum(len(self.operations) ** length for length in range(1, self.nodes + 1))

    def _cell(self, arch: Mapping[str, Any], name: str) -> Cell:
        try:
            return tuple(
                [
                    tuple([(int(i), arch[f"{name}/{i}-{j}"]) for i in arch[f"{name}/node{j}"]])
                    for j in range(2, 2 + self.nodes)
                ]
            )
        except KeyError as error:
            raise SpaceError(f"this is not an architecture of the DARTS space: it has no choice {error}") from None

    def _architecture(self, cells: Mapping[str, Cell]) -> Architecture:
        made: dict[str, Any] = {}
        for name, cell in cells.items():
            for j, pairs in enumerate(cell, start=2):
                made[f"{name}/node{j}"] = tuple([str(i) for i, _ in pairs])
                made |= {f"{name}/{i}-{j}": operation for i, operation in pairs}
        return Architecture.trusted(made)

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the architecture whose cells have the least code among all orders of their nodes.

        Nodes may be renumbered where every input still precedes its node and the space has the operation on the new edge:
        the network is then the same up to the order of the output's channels. The code of a cell is the tuple of its
        nodes' (input, operation) pairs.
        """
        return self._architecture({name: self._least(name, self._cell(arch, name)) for name in self.cells})

    def _least(self, name: str, cell: Cell) -> Cell:
        options = tuple(self._allowed[f"{name}/{i}-{j}"] for j in range(2, 2 + self.nodes) for i in range(j))
        return _least_cell(cell, options)

    def simplify(self, arch: Architecture) -> Architecture:
        """Return `arch` itself: every node feeds the output and none is never derived, so nothing in a cell is dead."""
        for name in self.cells:
            self._cell(arch, name)  # raises for an architecture of another space
        return arch

    def enumerate(self) -> Iterator[Architecture] | None:
        """Return None: no order was published."""
        return None

    def paths(self, arch: Architecture) -> list[int]:
        """Number the operation sequences from each input to each node, for every cell."""
        found: set[int] = set()
        for c, name in enumerate(self.cells):
            ways: list[list[tuple[int, tuple[str, ...]]]] = [[(0, ())], [(1, ())]]
            for pairs in self._cell(arch, name):
                ways.append([(start, (*way, op)) for i, op in pairs for start, way in ways[i]])
            for start, way in (w for node in ways[2:] for w in node):
                found.add((2 * c + start) * self._sequences + sequence_number(way, self.operations))
        return sorted(found)

    def graph(self, arch: Architecture) -> Graph:
        """Return the cells side by side: inputs, then for each node its two operations and their sum, then the output."""
        labels: list[str] = []
        edges: list[tuple[int, int]] = []
        for name in self.cells:
            sums = [len(labels), len(labels) + 1]
            labels += ["input0", "input1"]
            for pairs in self._cell(arch, name):
                place = len(labels)
                labels += [*(op for _, op in pairs), "sum"]
                for offset, (i, _) in enumerate(pairs):
                    edges += [(sums[i], place + offset), (place + offset, place + len(pairs))]
                sums.append(place + len(pairs))
            edges += [(s, len(labels)) for s in sums[2:]]
            labels.append("output")
        return labels, edges

    def ungraph(self, graph: Graph) -> Architecture:
        """Return the architecture of a graph with the labels and places of `graph`."""
        labels, edges = graph
        source = {b: a for a, b in edges if labels[b] in self.operations}
        cells: dict[str, Cell] = {}
        place = 0
        for name in self.cells:
            number = {place: 0, place + 1: 1} | {place + 4 + 3 * n: 2 + n for n in range(self.nodes)}
            try:
                pairs = [sorted((number[source[p - d]], labels[p - d]) for d in (2, 1)) for p in list(number)[2:]]
            except KeyError:
                raise SpaceError(
                    "this is not the graph of a DARTS architecture: an operation has no input in its cell"
                ) from None
            cells[name] = tuple(map(tuple, pairs))
            place += 3 + 3 * self.nodes
        return self._architecture(cells)


@lru_cache(maxsize=65536)
def _least_cell(cell: Cell, options: tuple[tuple[str, ...], ...]) -> Cell:
    nodes = len(cell)
    first = [j * (j - 1) // 2 - 1 for j in range(2, 2 + nodes)]  # place of the edge 0-j in `options`
    best = cell
    for order in permutations(range(2, 2 + nodes)):
        label = (0, 1, *order)
        renamed: list[tuple[tuple[int, str], ...]] = [()] * nodes
        for j, pairs in enumerate(cell, start=2):
            moved = sorted((label[i], operation) for i, operation in pairs)
            if moved[-1][0] >= label[j] or any(op not in options[first[label[j] - 2] + i] for i, op in moved):
                break
            renamed[label[j] - 2] = tuple(moved)
        else:
            best = min(best, tuple(renamed))
    return best


def sequence_number(sequence: Sequence[str], operations: Sequence[str]) -> int:
    """Number the sequences of operations: shorter first, then lexicographic."""
    number = 0
    for operation in sequence:
        number = number * len(operations) + operations.index(operation)
    return number + sum(len(operations) ** length for length in range(1, len(sequence)))


def structure_of(layout: str | None, choices: tuple[Choice, ...]) -> Structure | None:
    """Return the structure of a published layout over these choices; raises SpaceError on an unknown layout."""
    if layout is None:
        return None
    own = tuple(c for c in choices if not c.name.startswith(RECIPE))
    if len(own) < len(choices):
        from mimar.space.beside import Alone  # which needs spaces, as these need structures

        found = structure_of(layout, own)
        return found and Alone(found)
    if layout == "nasbench201":
        return NasBench201(choices[0].name.rpartition("/")[0] if choices else "cell")
    if layout == "darts":
        return Darts(choices)
    if layout == "dag":
        from mimar.space.dag import Dag  # which needs spaces, as these need structures

        return Dag(choices)
    raise SpaceError(nearest(layout, ("nasbench201", "darts", "dag"), kind="layout"))
