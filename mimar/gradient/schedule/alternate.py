"""T weight steps to one alpha step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from mimar.core.optimisers import cosine
from mimar.core.ranges import Range, validate


@dataclass(frozen=True)
class Alternate:
    """`inner_steps` (T) weight steps to one alpha step, for `epochs` passes over the training half.

    The alphas rest during the first `warmup` epochs. The weights' learning rate follows a cosine from its top to
    `floor`, constant within an epoch. An epoch whose number of batches is no multiple of T simply goes on counting.
    Source: DARTS (T = 1), iDARTS algorithm 1 (T weight steps, then one hypergradient).
    """

    epochs: Annotated[int, Range(1, None)] = 50
    inner_steps: Annotated[int, Range(1, None)] = 1
    warmup: Annotated[int, Range(0, None)] = 0
    floor: Annotated[float, Range(0.0, None)] = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def outer_due(self, step: int, per_epoch: int, norm: float = 0.0, held: dict[str, Tensor] | None = None) -> bool:
        """Tell whether an alpha step follows the weight step number `step` (from 0, over all epochs)."""
        rest = step - self.warmup * per_epoch
        return rest >= 0 and (rest + 1) % self.inner_steps == 0

    def outer_steps(self, per_epoch: int) -> int:
        """Return the number of alpha steps of the whole search."""
        return max(self.epochs - self.warmup, 0) * per_epoch // self.inner_steps

    def rate(self, epoch: int, top: float) -> float:
        """Return the weights' learning rate in `epoch` (from 0)."""
        return cosine(epoch / self.epochs, top, min(self.floor, top))
