"""Growing spaces: of the first b blocks of decisions, the others at a neutral value, so that they can be measured as they are.

A block is a choice with all that is conditional on it: an edge of a cell, a node with its inputs and their operations, a
layer with its options. A prefix of b blocks stands for the architecture that takes in all other blocks, choice by choice,

    the first of `neutral` that is among its options (skip connections before "none", so that what is decided is connected),
    else its first option (the least of a size, the first k of some), and of a range its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from mimar.core.errors import SpaceError
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice, Value
from mimar.space.space import Space
from mimar.space.transforms.image import Image, image

NEUTRAL = ("skip_connect", "skip", "identity", "none", "zero")


@dataclass(frozen=True)
class Grow:
    """Take the first `decided` blocks of a space; see the module's text for blocks and neutral values.

    Raises SpaceError where the space has fewer blocks, or `decided` is below 1.
    """

    decided: int
    neutral: tuple[str, ...] = NEUTRAL
    version: ClassVar[int] = 1

    def __call__(self, space: Space) -> Image:
        """Return the space of prefixes; back fills in neutral values, forth needs them."""
        groups = blocks(space)
        if not 1 <= self.decided <= len(groups):
            raise SpaceError(f"a prefix of this space has 1 to {len(groups)} blocks, not {self.decided}")
        names = frozenset(name for group in groups[: self.decided] for name in group)
        ways = Prefix(space, names, self.neutral)
        return image(space, [c for c in space.choices if c.name in names], ways)


@dataclass(frozen=True)
class Prefix:
    """The ways between prefixes, which decide `names` alone, and whole architectures."""

    space: Space
    names: frozenset[str]
    neutral: tuple[str, ...] = NEUTRAL

    def back(self, arch: Architecture) -> Architecture:
        """Fill in neutral values."""
        return self.space.complete(arch, self.filled)

    def filled(self, choice: Choice) -> Value:
        """Return the neutral value of a choice."""
        return self._neutral[choice.name]

    @cached_property
    def _neutral(self) -> dict[str, Value]:
        return {choice.name: neutral(choice, self.neutral) for choice in self.space.choices}

    def forth(self, arch: Architecture) -> Architecture:
        """Return the prefix; raises SpaceError where something else is not neutral."""
        found = Architecture.trusted({name: value for name, value in arch.items() if name in self.names})
        whole = self.back(found)
        for name, value in arch.items():
            if name not in self.names and whole[name] != value:
                raise SpaceError(f"this is no prefix: {name!r} is {value!r}, and {whole[name]!r} would be neutral")
        return found


def neutral(choice: Choice, words: Sequence[str] = NEUTRAL) -> Value:
    """Return the value that a choice has while it is undecided; see the module's text."""
    if choice.kind == "value":
        return choice.at(0.5)
    if choice.kind == "one":
        lower = {str(o).lower(): o for o in reversed(choice.allowed)}
        return next((lower[word] for word in words if word in lower), choice.first())
    return choice.first()


def blocks(space: Space) -> tuple[tuple[str, ...], ...]:
    """Return the names of the choices of each block, parents first: groups that conditions connect, in order."""
    group: dict[str, list[str]] = {}
    for choice in space.ordered:
        joined: list[str] = []
        for members in {id(group[p]): group[p] for p, _ in choice.when}.values():
            joined += members
        joined.append(choice.name)
        for name in joined:
            group[name] = joined
    place = {c.name: i for i, c in enumerate(space.ordered)}
    distinct = {id(members): sorted(members, key=place.__getitem__) for members in group.values()}
    return tuple(map(tuple, sorted(distinct.values(), key=lambda members: place[members[0]])))
