"""Hierarchical cells: motifs made of motifs, down to primitive operations.

Level 1 are the primitives. A motif of level ℓ is a graph of V_ℓ nodes, 0 its input and V_ℓ − 1 its output; each edge
i < j carries a motif of level ℓ − 1 or nothing. A motif is decided once and stands wherever it is used. The top level
has one motif, the cell. Liu et al., "Hierarchical representations for efficient architecture search", 2018, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from typing import Any

from mimar.core.errors import SpaceError, UsageError
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice
from mimar.space.dag import alive
from mimar.space.space import Space
from mimar.space.structures import Graph

NOTHING = "none"
PRIMITIVES = ("identity", "conv_1x1", "depthwise_3x3", "separable_3x3", "max_pool_3x3", "avg_pool_3x3")
FlatEdge = tuple[int, int, str]  # from, to, primitive


def hierarchy(
    primitives: Sequence[str] = PRIMITIVES, motifs: Sequence[int] = (6, 1), nodes: Sequence[int] = (4, 5)
) -> Space:
    """Return the space of cells of len(motifs) + 1 levels: so many motifs of so many nodes on levels 2, 3, ….

    Choices ``level.number/i-j``, as ``2.6/0-3``; the first options make every motif a chain of first motifs, and of the
    first primitive. Constraint: a way leads from the input of the cell to its output. Raises SpaceError on numbers that
    do not fit. The defaults are those of the paper.
    """
    structure = Hierarchy(tuple(primitives), tuple(motifs), tuple(nodes))
    return Space(structure.choices, [structure.passes], structure=structure)


@dataclass(frozen=True)
class Hierarchy:
    """What the choices of a hierarchical cell mean."""

    primitives: tuple[str, ...]
    motifs: tuple[int, ...]
    nodes: tuple[int, ...]
    layout = None

    def __post_init__(self) -> None:
        if not self.motifs or len(self.motifs) != len(self.nodes) or self.motifs[-1] != 1:
            raise SpaceError(
                f"a hierarchy has as many numbers of motifs as of nodes, the last one 1, not {self.motifs} and {self.nodes}"
            )
        if min(self.motifs) < 1 or min(self.nodes) < 2 or not self.primitives or NOTHING in self.primitives:
            raise SpaceError("a hierarchy has motifs of two or more nodes, and primitives none of which is 'none'")

    @property
    def top(self) -> str:
        """The name of the cell."""
        return f"{len(self.motifs) + 1}.1"

    @cached_property
    def entries(self) -> dict[str, tuple[tuple[int, int, str], ...]]:
        """For each motif, lower levels first, its edges and the names of their choices."""
        return {
            motif: tuple((i, j, f"{motif}/{i}-{j}") for i, j in combinations(range(v), 2))
            for level, (count, v) in enumerate(zip(self.motifs, self.nodes, strict=True), start=2)
            for motif in (f"{level}.{k}" for k in range(1, count + 1))
        }

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """One choice for each edge of each motif."""
        made = []
        for motif, edges in self.entries.items():
            level = int(motif.partition(".")[0])
            below = self.primitives if level == 2 else [f"{level - 1}.{k + 1}" for k in range(self.motifs[level - 3])]
            for i, j, name in edges:
                made.append(Choice(name, (*below, NOTHING) if j == i + 1 else (NOTHING, *below)))
        return tuple(made)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All labels of graph nodes."""
        return ("input", "output", *self.primitives)

    @property
    def path_count(self) -> int:
        """Raise UsageError: there are too many operation sequences for a code."""
        raise UsageError(
            "a hierarchical cell has no path code, because its ways are too long; use 'onehot' or 'tokens'"
        )

    def paths(self, arch: Architecture) -> list[int]:
        """Raise UsageError, like `path_count`."""
        return [self.path_count]

    def enumerate(self) -> Iterator[Architecture] | None:
        """Return None: no order was published."""
        return None

    def passes(self, arch: Mapping[str, Any]) -> bool:
        """Tell whether a way leads from the input of the cell to its output."""
        return self._through(self.top, arch, {})

    def _through(self, motif: str, arch: Mapping[str, Any], known: dict[str, bool]) -> bool:
        if motif not in known:
            edges = self.entries[motif]
            fed, last = {0}, edges[-1][1]
            for i, j, name in edges:
                what = arch[name]
                if i not in fed or j in fed or what == NOTHING:
                    continue
                if what in self.primitives or self._through(what, arch, known):
                    fed.add(j)
            known[motif] = last in fed
        return known[motif]

    def _living(self, arch: Mapping[str, Any]) -> dict[str, list[tuple[int, int, str]]]:
        """Return, for each motif that something passes, its edges (i, j, what they carry) on ways through it."""
        found: dict[str, list[tuple[int, int, str]]] = {}
        for motif, edges in self.entries.items():
            carried = {(i, j): arch[name] for i, j, name in edges}
            given = [edge for edge, what in carried.items() if what in found or what in self.primitives]
            kept = alive(edges[-1][1], given)
            if kept:
                found[motif] = [(*edge, carried[edge]) for edge in kept]
        return found

    def flatten(self, arch: Mapping[str, Any]) -> list[FlatEdge]:
        """Return the cell as edges (from, to, primitive) between numbered nodes, each motif replaced by a copy of its graph.

        Nodes of the cell come first, 0 its input and V − 1 its output; those of copies follow, depth first. Edges stand
        as they were decided, dead ones too.
        """
        edges: list[FlatEdge] = []
        count = self.nodes[-1]

        def put(what: str, start: int, end: int) -> None:
            nonlocal count
            if what in self.primitives:
                edges.append((start, end, what))
                return
            inner = self.nodes[int(what.partition(".")[0]) - 2] - 2
            place = [start, *range(count, count + inner), end]
            count += inner
            for i, j, name in self.entries[what]:
                if arch[name] != NOTHING:
                    put(arch[name], place[i], place[j])

        for i, j, name in self.entries[self.top]:
            if arch[name] != NOTHING:
                put(arch[name], i, j)
        return sorted(edges)

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the architecture with nothing on dead edges and in motifs that are not used."""
        living = self._living(arch)
        waiting, used = [self.top], {self.top}
        while waiting:
            below = {what for _, _, what in living[waiting.pop()] if what in living} - used
            waiting, used = waiting + sorted(below), used | below
        kept = {f"{m}/{i}-{j}" for m in used for i, j, _ in living[m]}
        return Architecture.trusted({c.name: arch[c.name] if c.name in kept else NOTHING for c in self.choices})

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the representative of the simplified cells that differ in the numbers of nodes and motifs alone.

        Exact but for one thing: a motif is compared as a whole, so that the same network cut into other motifs is another.
        """
        living = self._living(arch)
        codes: dict[str, tuple[str, ...]] = {}
        for motif, edges in living.items():  # lower levels first
            size = self.entries[motif][-1][1] + 1
            drawn = {(i, j): repr(codes[what]) if what in codes else what for i, j, what in edges}
            codes[motif] = _least(size, drawn)
        made = dict.fromkeys((c.name for c in self.choices), NOTHING)
        wanted = {codes[self.top]}
        for level in range(len(self.motifs) + 1, 1, -1):
            spelled = {repr(c): f"{level - 1}.{k}" for k, c in enumerate(_below(codes, wanted), start=1)}
            for k, code in enumerate(sorted(wanted), start=1):
                edges_here = self.entries[f"{level}.{k}"]
                made |= {n: spelled.get(w, w) for (_, _, n), w in zip(edges_here, code, strict=True)}
            wanted = set(_below(codes, wanted))
        return Architecture.trusted(made)

    def graph(self, arch: Architecture) -> Graph:
        """Return the living part of the flat cell with operations on nodes; its size differs from cell to cell."""
        flat = self.flatten(self.simplify(arch))
        spans = [(-1, 0, "input"), *flat, (self.nodes[-1] - 1, -2, "output")]
        edges = [(a, b) for a, (_, end, _) in enumerate(spans) for b, (start, _, _) in enumerate(spans) if end == start]
        return [label for _, _, label in spans], edges

    def ungraph(self, graph: Graph) -> Architecture:
        """Raise UsageError: a flat graph does not say what its motifs were."""
        raise UsageError(
            "the graph of a hierarchical cell cannot be decoded, because it does not say what its motifs were"
        )


def _below(codes: Mapping[str, tuple[str, ...]], wanted: set[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the codes of the motifs that those of one level are made of, in order."""
    spelled = {repr(code): code for code in codes.values()}
    return sorted({spelled[what] for code in wanted for what in code if what in spelled})


def _least(size: int, edges: Mapping[tuple[int, int], str]) -> tuple[str, ...]:
    """Return what the edges i < j carry, in their order, under the numbering of inner nodes for which that is least."""
    best: tuple[str, ...] | None = None
    for order in permutations(range(1, size - 1)):
        place = {old: new for new, old in enumerate((0, *order, size - 1))}
        moved = {(place[i], place[j]): what for (i, j), what in edges.items()}
        if all(i < j for i, j in moved):
            code = tuple(moved.get(edge, NOTHING) for edge in combinations(range(size), 2))
            best = code if best is None else min(best, code)
    assert best is not None
    return best
