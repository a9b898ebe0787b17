"""Where a population comes from before anything is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from mimar.core.ranges import Whole, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Choice, Space


class Initial(Protocol):
    """A way to make the architectures with which a search begins."""

    def __call__(self, space: Space, draws: Draws) -> Architecture:
        """Return one of them."""
        ...


@dataclass(frozen=True)
class Sampled:
    """Each is drawn from the space by its priors."""

    version: ClassVar[int] = 1

    def __call__(self, space: Space, draws: Draws) -> Architecture:
        """Return a sample."""
        return space.sample(draws)


@dataclass(frozen=True)
class Diversified:
    """Each is the trivial architecture, every choice at its first option, after `mutations` random mutations.

    Where that one breaks a constraint of the space, a sample stands for it. Liu et al., "Hierarchical representations for
    efficient architecture search", 2018, section 3.2.
    """

    mutations: Whole = 1000
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, space: Space, draws: Draws) -> Architecture:
        """Return the end of the walk."""
        here = space.complete({}, Choice.first)
        here = here if space.allows(here) else space.sample(draws)
        for _ in range(self.mutations):
            here = space.mutate(here, draws)
        return here
