"""Go back and learn with more weight decay where the validation loss becomes sharp in the alphas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from mimar.core.ranges import Range, validate
from mimar.gradient.schedule.parts import History, Rollback
from mimar.gradient.schedule.rising import Rising


@dataclass(frozen=True)
class RisingBack:
    """Where `rising` would stop, go back to that epoch instead and multiply the weights' decay by `factor`.

        decay ← min(decay · factor, most),    1 at the start; no more rollbacks once it is `most`

    The setting "decay" multiplies the rate of weight decay. The present value is read from the settings of the last
    epoch in the history. Source: RobustDARTS-ADA (Zela et al., ICLR 2020): 3e-4 to 0.0243 = 81 · 3e-4 in steps of 3;
    its release also restores weights and momentum of that epoch, and forgets what was measured after it.
    """

    rising: Rising = Rising()
    factor: Annotated[float, Range(1.0, None, open_low=True)] = 3.0
    most: Annotated[float, Range(1.0)] = 81.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    @property
    def probes(self) -> tuple[str, ...]:
        """What has to be measured."""
        return self.rising.probes

    def probing(self, epoch: int) -> tuple[str, ...]:
        """Return what has to be measured after `epoch` (from 1)."""
        return self.rising.probing(epoch)

    @property
    def past(self) -> int:
        """How many epochs it may go back."""
        return self.rising.reach

    def __call__(self, history: History) -> Rollback | None:
        """Return the way back, or None where nothing rises or the decay is at its most."""
        decays = [entry.get("settings", {}).get("decay", 1.0) for entry in history]
        present = decays[-1] if decays else 1.0
        since = sum(decay != present for decay in decays)  # never behind the last return: its snapshots are gone
        found = replace(self.rising, first=max(self.rising.first, since))(history)
        if found is None or present >= self.most:
            return None
        return Rollback(found.epoch, {"decay": min(present * self.factor, self.most)})
