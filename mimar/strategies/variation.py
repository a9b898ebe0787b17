"""How a child is made from its parents: mutation, crossover, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Protocol

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Fraction, Range, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.space.sketch import edit_crossover
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


@dataclass(frozen=True)
class Inversion:
    """After another variation, exchange the values of two successive decisions of equal options, with probability `rate`.

    Successive: in the order of the space, among those that both could take. Where constraints forbid it, or the two agree,
    nothing is exchanged.
    """

    variation: Variation = Mutate()
    rate: Fraction = 0.1
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, space: Space, parent: Known, other: Other, number: int, draws: Draws) -> Child:
        """Return the child of the other variation, inverted or not, with what that one notes."""
        child, meta = self.variation(space, parent, other, number, draws)
        if draws.uniform() >= self.rate:
            return child, meta
        alike: dict[Any, list[str]] = {}
        for choice in space.ordered:
            if choice.name in child:
                alike.setdefault((choice.kind, choice.k, choice.options, choice.never), []).append(choice.name)
        pairs = [pair for names in alike.values() for pair in pairwise(names)]
        if pairs:
            one, two = draws.choice(pairs)
            found = space.complete({**child, one: child[two], two: child[one]}, space.filler(draws))
            child = found if space.allows(found) else child
        return child, meta


@dataclass(frozen=True)
class Alternate:
    """Several variations in turn, one a proposal: `variations[number mod n]`."""

    variations: tuple[Variation, ...]
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)
        if not self.variations:
            raise UsageError("alternating takes at least one variation")

    def __call__(self, space: Space, parent: Known, other: Other, number: int, draws: Draws) -> Child:
        """Return the child of the one whose turn it is."""
        return self.variations[number % len(self.variations)](space, parent, other, number, draws)


@dataclass(frozen=True)
class EditPath:
    """Go along a shortest edit path between two parents: ⌈rate · d⌉ of its d edits, a random subset, are made.

    See `mimar.space.sketch.edit_crossover`: cells are compared as graphs, whatever their nodes are called. A second
    parent equal to the first is chosen again; where `tries` children are invalid or the network of a parent, the first
    parent is mutated instead. Qiu and Miikkulainen, 2023, section 3.
    """

    rate: Annotated[float, Range(0.0, 1.0, open_low=True)] = 0.5
    tries: Count = 50
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, space: Space, parent: Known, other: Other, number: int, draws: Draws) -> Child:
        """Return the child; the digest of the second parent is noted."""
        for _ in range(self.tries):
            second = other()
            if second.architecture != parent.architecture:
                break
        else:
            return space.mutate(parent.architecture, draws), {}
        child = edit_crossover(space, parent.architecture, second.architecture, draws, rate=self.rate, tries=self.tries)
        if child is None:
            return space.mutate(parent.architecture, draws), {}
        return child, {"second": second.digest}
