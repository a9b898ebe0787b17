"""How a child is made from its parents: mutation, crossover, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from mimar.core.ranges import Count, Fraction, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.strategies.past import Known

Other = Callable[[], Known]  # a second parent, chosen like the first
Child = tuple[Architecture, Mapping[str, Any]]


class Variation(Protocol):
    """A way to make children; `number` counts the proposals, for those that take turns."""

    def __call__(self, space: Space, parent: Known, other: Other, number: int, draws: Draws) -> Child:
        """Return a child and what is noted with it."""
        ...


@dataclass(frozen=True)
class Mutate:
    """Change `decisions` decisions of the parent, one after the other: each uniform, its new value uniform."""

    decisions: Count = 1
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, space: Space, parent: Known, other: Other, number: int, draws: Draws) -> Child:
        """Return the mutant."""
        child = parent.architecture
        for _ in range(self.decisions):
            child = space.mutate(child, draws)
        return child, {}


@dataclass(frozen=True)
class Cross:
    """Take each decision from one of two parents at even odds, with probability `rate`; then mutate with probability `mutation`.

    What would equal the parent is mutated in any case.
    """

    rate: Fraction = 1.0
    mutation: Fraction = 0.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, space: Space, parent: Known, other: Other, number: int, draws: Draws) -> Child:
        """Return the child; the digest of the second parent is noted."""
        child, meta = parent.architecture, {}
        if draws.uniform() < self.rate:
            second = other()
            child, meta = space.crossover(parent.architecture, second.architecture, draws), {"second": second.digest}
        if draws.uniform() < self.mutation or child == parent.architecture:
            child = space.mutate(child, draws)
        return child, meta
