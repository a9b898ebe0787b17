"""What all outer updates share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from mimar.gradient.hypergradient import Explanation


class OuterUpdate(Protocol):
    """From what a hypergradient found to new alphas. Everything it remembers is held by the search's state."""

    def keeps(self, alphas: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return what it keeps between steps, as it is at the start."""
        ...

    def step(self, alphas: Sequence[Tensor], found: Explanation, held: dict[str, Tensor], steps: int) -> None:
        """Take one of `steps` outer steps, in place in `alphas` and in `held`."""
        ...
