"""What the choices of a network of untied cells mean: every cell on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mimar.core.errors import SpaceError, UsageError
from mimar.space import Architecture, Structure
from mimar.space.structures import Graph


@dataclass(frozen=True)
class Untied:
    """Cells with choices of their own, each a published cell: `cells` are (its name, the name it has when tied, structure).

    Canonical form and simplification are those of each cell, path codes stand one behind the other, graphs side by side.
    No order of all architectures and no notation was published, so that a space read back from JSON has no structure.
    """

    cells: tuple[tuple[str, str, Structure], ...]
    layout: ClassVar[str | None] = None

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All labels of graph nodes, in order of their first appearance."""
        return tuple(dict.fromkeys(label for _, _, structure in self.cells for label in structure.vocabulary))

    @property
    def path_count(self) -> int:
        """The length of a path code: those of the cells together."""
        return sum(structure.path_count for _, _, structure in self.cells)

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the architecture whose cells are in canonical form."""
        return self._each(arch, lambda structure, cell: structure.canonical(cell))

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the architecture whose cells are simplified."""
        return self._each(arch, lambda structure, cell: structure.simplify(cell))

    def enumerate(self) -> Iterator[Architecture] | None:
        """Return None: no order was published."""
        return None

    def paths(self, arch: Architecture) -> list[int]:
        """Number the operation sequences of all cells."""
        found: list[int] = []
        before = 0
        for structure, cell in self._cells(arch):
            found += [before + number for number in structure.paths(cell)]
            before += structure.path_count
        return found

    def graph(self, arch: Architecture) -> Graph:
        """Return the graphs of the cells side by side."""
        labels: list[str] = []
        edges: list[tuple[int, int]] = []
        for structure, cell in self._cells(arch):
            more, between = structure.graph(cell)
            edges += [(len(labels) + a, len(labels) + b) for a, b in between]
            labels += more
        return labels, edges

    def ungraph(self, graph: Graph) -> Architecture:
        """Return the architecture of a graph; a cell's nodes end with its output. Raises SpaceError on another number of cells."""
        labels, edges = graph
        ends = [place + 1 for place, label in enumerate(labels) if label == "output"]
        if len(ends) != len(self.cells):
            raise SpaceError(f"a graph of {len(self.cells)} cells has as many outputs, not {len(ends)}")
        made: dict[str, Any] = {}
        for (name, tied, structure), start, end in zip(self.cells, [0, *ends], ends):
            inside = [(a - start, b - start) for a, b in edges if start <= a < end]
            made |= _renamed(structure.ungraph((labels[start:end], inside)), tied, name)
        return Architecture.trusted(made)

    def _cells(self, arch: Mapping[str, Any]) -> Iterator[tuple[Structure, Architecture]]:
        for name, tied, structure in self.cells:
            yield structure, Architecture.trusted(_renamed(arch, name, tied))

    def _each(self, arch: Architecture, rule: Callable[[Structure, Architecture], Architecture]) -> Architecture:
        made: dict[str, Any] = {}
        for (name, tied, _), (structure, cell) in zip(self.cells, self._cells(arch), strict=True):
            made |= _renamed(rule(structure, cell), tied, name)
        return Architecture.trusted(made)


def check_nested(nested: int) -> None:
    """Raise UsageError unless `nested` is 0 or 1."""
    if type(nested) is not int or nested not in (0, 1):
        raise UsageError(f"nested is {nested!r}; it must be 0 (all cells of a kind share their choices) or 1 (none do)")


def _renamed(arch: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return the decisions of one cell under another name of it."""
    return {new + name[len(old) :]: value for name, value in arch.items() if name.startswith(f"{old}/")}
