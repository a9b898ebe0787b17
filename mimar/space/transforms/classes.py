"""A structure that knows which architectures are the same, and nothing of graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NoReturn

from mimar.core.errors import UsageError
from mimar.space.architecture import Architecture
from mimar.space.structures import Graph

Rule = Callable[[Architecture], Architecture]


@dataclass(frozen=True)
class Classes:
    """The structure of a space by its rules `canonical` and `simplify` alone; codes by graphs and paths raise UsageError."""

    canonical: Rule
    simplify: Rule
    layout: ClassVar[str | None] = None
    vocabulary: ClassVar[tuple[str, ...]] = ()

    def enumerate(self) -> Iterator[Architecture] | None:
        """Return None: no order was published."""
        return None

    @property
    def path_count(self) -> int:
        """Raises UsageError."""
        _no_graph()

    def paths(self, arch: Architecture) -> list[int]:
        """Raises UsageError."""
        _no_graph()

    def graph(self, arch: Architecture) -> Graph:
        """Raises UsageError."""
        _no_graph()

    def ungraph(self, graph: Graph) -> Architecture:
        """Raises UsageError."""
        _no_graph()


def _no_graph() -> NoReturn:
    raise UsageError("this space has no graph structure, and hence no such code; use 'onehot', 'unit-cube' or 'tokens'")
