"""Curves of a learning rate over a search or training, as values; progress runs from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from mimar.core.optimisers import cosine, cosine_power
from mimar.core.ranges import Fraction, Range, validate


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from top to floor."""

    version: ClassVar[int] = 1

    def __call__(self, progress: float, top: float, floor: float = 0.0) -> float:
        """Return the rate."""
        return cosine(progress, top, floor)


@dataclass(frozen=True)
class CosinePower:
    """A line from floor to top during the share `warmup` of progress, then `cosine_power` over what is left.

    Source: sharpDARTS (2019); its search has power 2 and 5 epochs of warm-up. The release counts epochs from 1 and
    normalises by the first one's value, so that its curve starts at the top; ours starts there by the formula.
    """

    power: Annotated[float, Range(1.0)] = 2.0
    warmup: Fraction = 0.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, progress: float, top: float, floor: float = 0.0) -> float:
        """Return the rate."""
        if self.warmup and progress <= self.warmup:
            share = max(progress, 0.0) / self.warmup
            return floor * (1.0 - share) + top * share
        return cosine_power((progress - self.warmup) / (1.0 - self.warmup), top, floor, self.power)
