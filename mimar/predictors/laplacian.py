"""How alike two architectures are by their decisions, in any space.

    k(a, b) = exp(− d(a, b) / (s C)),   d = Σ_c d_c

over the C choices; d_c is 0 or 1 for options (the differing share for `some`), the distance of the places in the range
for sizes and values, and 1/2 where only one of the two has the choice active. d is an L1 distance of codes, so that k is
positive definite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from mimar.core.ranges import Range, validate
from mimar.predictors.columns import Columns
from mimar.predictors.parts import Array
from mimar.space import Architecture, Choice, Space


@dataclass(frozen=True)
class Laplacian:
    """The kernel exp(−d / (s C)); its scale s, one of `scales`, is left to whoever fits it."""

    scales: tuple[Annotated[float, Range(0.0, open_low=True)], ...] = (0.125, 0.25, 0.5, 1.0, 2.0)
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, only: Sequence[str] | None = None) -> Decisions:
        """Return the kernel on a space, or on the choices named `only` of it."""
        return Decisions(self.scales, space, only)


class Decisions:
    """The kernel at work: `fit` takes note of architectures, `cross` compares others with them. Settings are scales."""

    def __init__(self, scales: tuple[float, ...], space: Space, only: Sequence[str] | None = None) -> None:
        self.settings = scales
        self.count = len(space.ordered if only is None else only)
        self.columns = Columns(space, only, sizes="number")
        kinds = {c.name: c for c in space.ordered}
        self.widths = np.array([_width(kinds[c.choice]) if c.option is not None else 1.0 for c in self.columns.names])
        self.codes = np.zeros((0, len(self.columns)))

    def fit(self, architectures: Sequence[Architecture]) -> list[Array]:
        """Take note of N architectures and return their kernel under every setting, (N, N) each."""
        self.codes = self.columns(architectures)
        distance = self._distance(self.codes)
        return [self._kernel(distance, k) for k in range(len(self.settings))]

    def own(self) -> Array:
        """Return the kernel of those noted under the first setting, (N, N)."""
        return self._kernel(self._distance(self.codes), 0)

    def cross(self, architectures: Sequence[Architecture], setting: int) -> Array:
        """Return the kernel of M architectures with those noted, (M, N)."""
        return self._kernel(self._distance(self.columns(architectures)), setting)

    def _distance(self, codes: Array) -> Array:
        found = np.zeros((len(codes), len(self.codes)))
        for j, width in enumerate(self.widths.tolist()):  # column by column: memory of one matrix
            found += width * np.abs(codes[:, j, None] - self.codes[None, :, j])
        return found

    def _kernel(self, distance: Array, setting: int) -> Array:
        found: Array = np.exp(-distance / (self.settings[setting] * max(self.count, 1)))
        return found


def _width(choice: Choice) -> float:
    """Return what an option that only one of two has counts: such that taking others altogether counts 1."""
    return 0.5 / choice.k
