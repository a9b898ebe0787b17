"""Alpha steps where the weights have settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from mimar.core.errors import UsageError
from mimar.core.optimisers import cosine
from mimar.core.ranges import Count, NonNegative, Positive, Range, Whole, validate

UNSEEN = -1.0  # of a quantity that is never negative: not known yet


@dataclass(frozen=True)
class GradientGated:
    """An alpha step after every weight step whose gradient is small; what is small adapts to a wanted frequency.

        F ← average · ‖∇_w L1‖² + (1 − average) · F,    the first ‖∇_w L1‖² at the start
        alpha step if F < θ, and then θ ← θ · factor^(−frequency);    otherwise θ ← θ · factor

    For any F that is stationary the share of weight steps with an alpha step tends to 1 / (1 + frequency): log θ stays
    bounded only if its ups and downs balance. `start`: the first θ; None: the first F after the warm-up, so that no unit
    of the loss matters. During `warmup` epochs the alphas and θ rest. `outer_due` has to be asked once for every weight
    step; it moves "gate/theta" and "gate/average", scalars in float64, in what is held. Raises UsageError without those.
    The learning rate is a cosine to `floor`. Source: DARTS-PRIME (Maile et al., 2021); its release starts at θ = 1, asks
    before the weight step, and makes the validation half's share 1 / (1 + frequency): here the task's split decides that.
    """

    epochs: Count = 50
    frequency: Positive = 10.0
    factor: Annotated[float, Range(1.0, None, open_low=True)] = 1.05
    average: Annotated[float, Range(0.0, 1.0, open_low=True)] = 0.2
    start: Positive | None = None
    warmup: Whole = 0
    floor: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def keeps(self) -> dict[str, Tensor]:
        """Return the threshold and the average, not known yet."""
        first = {"gate/theta": UNSEEN if self.start is None else float(self.start), "gate/average": UNSEEN}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in first.items()}

    def outer_due(self, step: int, per_epoch: int, norm: float = 0.0, held: dict[str, Tensor] | None = None) -> bool:
        """Tell whether an alpha step follows the weight step number `step`, whose gradient had this norm."""
        if held is None or "gate/theta" not in held:
            raise UsageError("GradientGated needs what it keeps: give outer_due the tensors of keeps() as `held`")
        seen, theta = float(held["gate/average"]), float(held["gate/theta"])
        now = norm**2 if seen == UNSEEN else self.average * norm**2 + (1 - self.average) * seen
        held["gate/average"].fill_(now)
        if step < self.warmup * per_epoch:
            return False
        theta = now if theta == UNSEEN else theta
        due = now < theta
        held["gate/theta"].fill_(theta * (self.factor**-self.frequency if due else self.factor))
        return due

    def outer_steps(self, per_epoch: int) -> int:
        """Return the expected number of alpha steps of the whole search; the gradients decide the true one."""
        return round(max(self.epochs - self.warmup, 0) * per_epoch / (1 + self.frequency))

    def rate(self, epoch: int, top: float) -> float:
        """Return the weights' learning rate in `epoch` (from 0)."""
        return cosine(epoch / self.epochs, top, min(self.floor, top))
