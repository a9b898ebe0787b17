"""Mutation within the types of a typed space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mimar.core.streams import Draws
from mimar.space import Space
from mimar.space.transforms.typed import exchange
from mimar.strategies.past import Known
from mimar.strategies.variation import Child, Other


@dataclass(frozen=True)
class Exchange:
    """Replace one operation by another that gives the same shape where it stands, so that no child has to be refused.

    For typed spaces only (`mimar.space.transforms.typed`); others raise SpaceError. Wu et al., "Neural architecture type
    system", 2021.
    """

    version: ClassVar[int] = 1

    def __call__(self, space: Space, parent: Known, other: Other, number: int, draws: Draws) -> Child:
        """Return the mutant."""
        return exchange(space, parent.architecture, draws), {}
