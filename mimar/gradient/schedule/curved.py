"""Another curve of the weights' learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from mimar.core.curves import Cosine
from mimar.core.ranges import NonNegative, validate
from mimar.gradient.schedule.parts import (
    History,
    Phase,
    Rollback,
    Schedule,
    Stop,
    after_epoch,
    keeps,
    past,
    phase,
    probes,
    probing,
)


class Curve(Protocol):
    """From progress (0 to 1) to a learning rate between `floor` and `top`."""

    def __call__(self, progress: float, top: float, floor: float = 0.0) -> float: ...


@dataclass(frozen=True)
class Curved:
    """The schedule `plan` with the learning rate curve(epoch / epochs, top, floor); everything else is the plan's."""

    plan: Schedule
    curve: Curve = Cosine()
    floor: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    @property
    def epochs(self) -> int:
        """The plan's epochs."""
        return self.plan.epochs

    @property
    def probes(self) -> tuple[str, ...]:
        """What the plan wants to be measured."""
        return probes(self.plan)

    def probing(self, epoch: int) -> tuple[str, ...]:
        """Return what is due to be measured after `epoch` (from 1)."""
        return probing(self.plan, epoch)

    @property
    def past(self) -> int:
        """How many epochs the plan may go back."""
        return past(self.plan)

    def rate(self, epoch: int, top: float) -> float:
        """Return the weights' learning rate in `epoch` (from 0)."""
        return self.curve(epoch / self.epochs, top, min(self.floor, top))

    def outer_due(self, step: int, per_epoch: int, norm: float = 0.0, held: dict[str, Tensor] | None = None) -> bool:
        """Tell whether an alpha step is due under the plan."""
        return self.plan.outer_due(step, per_epoch, norm, held)

    def outer_steps(self, per_epoch: int) -> int:
        """Return the plan's number of alpha steps."""
        return self.plan.outer_steps(per_epoch)

    def keeps(self) -> dict[str, Tensor]:
        """Return what the plan keeps between steps."""
        return keeps(self.plan)

    def after_epoch(self, history: History) -> Stop | Rollback | None:
        """Return what the plan asks for."""
        return after_epoch(self.plan, history)

    def phase(self, epoch: int) -> Phase:
        """Return the plan's phase."""
        return phase(self.plan, epoch)
