"""What a transform makes of a space: another space, and the ways of architectures between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

from mimar.core.errors import SpaceError
from mimar.space import counting
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice
from mimar.space.space import Constraint, Space
from mimar.space.structures import Graph, Structure

LISTED = 20_000  # spaces up to this size are looked through for the representatives of classes


class Ways(Protocol):
    """How architectures go from the new space back to the old one, and forth to the new one where they can."""

    def back(self, arch: Architecture) -> Architecture:
        """Return the architecture of the old space that `arch`, of the new one, stands for."""
        ...

    def forth(self, arch: Architecture) -> Architecture:
        """Return an architecture of the new space that stands for `arch`; it is checked by the caller."""
        ...


@dataclass(frozen=True)
class Image:
    """A new space, the one it was made from, and the ways between: back(forth(a)) is `a`, or the same network, where `forth` is defined."""

    space: Space
    origin: Space
    ways: Ways

    def back(self, arch: Architecture) -> Architecture:
        """Return the architecture of the old space for which one of the new space stands."""
        return self.ways.back(arch)

    def forth(self, arch: Architecture) -> Architecture:
        """Return an architecture of the new space for one of the old. Raises SpaceError where there is none."""
        found = self.ways.forth(arch)
        self.space.check(found)
        return found


class Transform(Protocol):
    """A frozen description of how one space becomes another."""

    def __call__(self, space: Space) -> Image:
        """Return the new space; the old one stays as it is."""
        ...


@dataclass(frozen=True)
class Same:
    """The ways between spaces whose architectures are written alike."""

    def back(self, arch: Architecture) -> Architecture:
        """Return the architecture itself."""
        return arch

    def forth(self, arch: Architecture) -> Architecture:
        """Return the architecture itself."""
        return arch


@dataclass(frozen=True)
class Chained:
    """Several ways, one after the other: the first leads out of the oldest space."""

    steps: tuple[Ways, ...]

    def back(self, arch: Architecture) -> Architecture:
        """Go back through all of them."""
        for step in reversed(self.steps):
            arch = step.back(arch)
        return arch

    def forth(self, arch: Architecture) -> Architecture:
        """Go forth through all of them."""
        for step in self.steps:
            arch = step.forth(arch)
        return arch


def chain(space: Space, transforms: Sequence[Callable[[Space], Image]]) -> Image:
    """Return the image of a space under several transforms, the first one first; under none the space itself."""
    images: list[Image] = []
    for transform in transforms:
        images.append(transform(images[-1].space if images else space))
    last = images[-1].space if images else space
    return Image(last, space, Chained(tuple(image.ways for image in images)))


@dataclass(frozen=True)
class Lifted:
    """A constraint of the old space, asked of architectures of the new one."""

    constraint: Constraint
    ways: Ways

    def __call__(self, arch: Architecture) -> bool:
        return self.constraint(self.ways.back(arch))


@dataclass(frozen=True)
class Through:
    """The structure of the old space, seen through the ways: graphs, paths and classes are those of the old architectures.

    The canonical form is the old one where the new space has it; else the first of its class in the new space, or, in
    spaces of more than 20,000 architectures, the architecture itself.
    """

    structure: Structure
    ways: Ways
    choices: tuple[Choice, ...]
    constraints: tuple[Constraint, ...]
    layout: ClassVar[str | None] = None

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All labels of graph nodes."""
        return self.structure.vocabulary

    @property
    def path_count(self) -> int:
        """The length of a path code."""
        return self.structure.path_count

    @cached_property
    def _space(self) -> Space:
        return Space(self.choices, self.constraints)

    @cached_property
    def _first(self) -> dict[Architecture, Architecture]:
        """The first architecture of every class, by the old canonical form; empty for large spaces."""
        found: dict[Architecture, Architecture] = {}
        if counting.count(self._space.ordered) <= LISTED:
            for arch in self._space.enumerate():
                found.setdefault(self.structure.canonical(self.ways.back(arch)), arch)
        return found

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the representative of the class in the new space."""
        form = self.structure.canonical(self.ways.back(arch))
        found = self._seen(form)
        return self._first.get(form, arch) if found is None else found

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the simplified old architecture where the new space has it, else the architecture itself."""
        return self._seen(self.structure.simplify(self.ways.back(arch))) or arch

    def _seen(self, old: Architecture) -> Architecture | None:
        try:
            found = self.ways.forth(old)
            self._space.check(found)
        except SpaceError:
            return None
        return found

    def enumerate(self) -> Iterator[Architecture] | None:
        """Return None: no order was published."""
        return None

    def paths(self, arch: Architecture) -> list[int]:
        """Return the paths of the old architecture."""
        return self.structure.paths(self.ways.back(arch))

    def graph(self, arch: Architecture) -> Graph:
        """Return the graph of the old architecture."""
        return self.structure.graph(self.ways.back(arch))

    def ungraph(self, graph: Graph) -> Architecture:
        """Return the new architecture of an old graph."""
        return self.ways.forth(self.structure.ungraph(graph))


def image(
    space: Space, choices: Sequence[Choice], ways: Ways, more: Sequence[Constraint] = (), *, known: bool = True
) -> Image:
    """Return the image of `space` with these choices: its constraints are asked of the old architectures, then `more`.

    `known`: whether the new space knows the structure of the old one.
    """
    old = space.constraints if isinstance(ways, Same) else tuple(Lifted(c, ways) for c in space.constraints)
    constraints, listed = (*old, *more), tuple(choices)
    structure = Through(space.structure, ways, listed, constraints) if space.structure and known else None
    return Image(Space(listed, constraints, structure), space, ways)
