"""Stop before the validation loss became sharp in the alphas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Positive, Whole, validate
from mimar.gradient.schedule.parts import History, Stop


@dataclass(frozen=True)
class Rising:
    """Stop where the dominant eigenvalue λ of ∂²L2/∂a² begins to rise.

        Stop(s) for the first s ≥ first with  λ̄(s + back) > threshold · λ̄(s),
        λ̄(e) = mean of λ at the measured epochs from e − around to e + around

    Epochs count from 1. Measured are the epochs 1, 1 + every, 1 + 2·every, …, and s runs through them; λ̄ at the
    beginning has fewer values. λ̄(e) is known after epoch e + around, so s is named around + back epochs later.
    Source: RobustDARTS (Zela et al., ICLR 2020), early stopping as in its release: 5 evaluations around each, 4
    evaluations apart, one every other epoch. There epochs count from 0, so that its first=10 lets the stop be at its epoch
    10, our 11, as here, where 10 is no measured epoch. Its text has a ratio of 0.75 of single values five epochs apart:
    Rising(threshold=1 / 0.75, around=0, back=5, first=1, every=1).
    """

    threshold: Positive = 1.3
    around: Whole = 4
    back: Count = 8
    first: Count = 10
    every: Count = 2
    version: ClassVar[int] = 1
    probes: ClassVar[tuple[str, ...]] = ("eigenvalue",)

    def __post_init__(self) -> None:
        validate(self)
        apart = self.back % self.every
        if min(apart, self.every - apart) > self.around:
            raise UsageError(
                f"Rising compares epochs {self.back} apart and measures every {self.every}: nothing is measured there; "
                f"make back a multiple of {self.every}, or around at least {min(apart, self.every - apart)}"
            )

    def probing(self, epoch: int) -> tuple[str, ...]:
        """Return what has to be measured after `epoch` (from 1)."""
        return self.probes if (epoch - 1) % self.every == 0 else ()

    @property
    def reach(self) -> int:
        """How many epochs the stop may lie back: the alphas of all epochs are kept, so that nothing else has to be."""
        return self.around + self.back

    def __call__(self, history: History) -> Stop | None:
        """Return the stop, at the epoch before the rise."""
        measured = {e["epoch"]: e["eigenvalue"] for e in history if (e["epoch"] - 1) % self.every == 0}
        values = {epoch: value for epoch, value in measured.items() if value is not None}
        last = len(history)
        for start in values:
            if start < self.first or start + self.reach > last:
                continue
            before, after = self._mean(values, start), self._mean(values, start + self.back)
            if before is not None and after is not None and after > self.threshold * before:
                return Stop(start)
        return None

    def _mean(self, values: dict[int, float], epoch: int) -> float | None:
        near = [value for at, value in values.items() if abs(at - epoch) <= self.around]
        return sum(near) / len(near) if near else None
