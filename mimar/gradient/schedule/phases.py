"""One search in stages that train different weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Annotated, ClassVar

from torch import Tensor

from mimar.core.errors import UsageError
from mimar.core.ranges import Positive, Range, validate
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
from mimar.nets import inherit_scores


@dataclass(frozen=True)
class InheritScores:
    """What a stage may begin with: the scores of all sparse weights become |w| / max |w| (`mimar.nets.inherit_scores`)."""

    version: ClassVar[int] = 1

    def __call__(self, named: Mapping[str, Tensor]) -> None:
        """Write the scores in place."""
        inherit_scores(named)


@dataclass(frozen=True)
class Stage:
    """A part of the epochs, as large as its `share` beside the others', and what trains in it: see `Phase`.

    `rate`: the weights' learning rate as a share of the plan's.
    """

    share: Positive = 1.0
    only: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)
    begin: Callable[[Mapping[str, Tensor]], None] | None = None
    rate: Annotated[float, Range(0.0, 1.0, open_low=True)] = 1.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class Phases:
    """The epochs of the schedule `plan` cut into `stages`, each with what trains in it.

    A stage ends at the epoch nearest to its share, and has one epoch at least. The learning rate runs through the plan's
    whole curve within every stage, as if each were a run of its own; everything else is the plan's, alpha steps included.
    Raises UsageError without stages, with fewer epochs than stages, or where the plan has phases already.
    Source: DASS (Mousavi et al., 2022): weights densely (100 epochs), scores of a pruned network (50), the weights that
    are left (100).
    """

    plan: Schedule
    stages: tuple[Stage, ...]
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)
        if not self.stages:
            raise UsageError("Phases.stages is empty; give at least one Stage")
        if self.epochs < len(self.stages):
            raise UsageError(
                f"{self.epochs} epochs are too few for {len(self.stages)} stages; give one to each at least"
            )
        if any(phase(self.plan, epoch) != Phase() for epoch in range(self.epochs)):
            raise UsageError("Phases.plan has phases of its own; put all stages into one Phases")

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

    def phase(self, epoch: int) -> Phase:
        """Return what trains in `epoch` (from 0)."""
        stage = self._stage(epoch)[0]
        return Phase(stage.only, stage.rest, stage.settings, stage.begin)

    def rate(self, epoch: int, top: float) -> float:
        """Return the weights' learning rate in `epoch` (from 0)."""
        stage, begin, end = self._stage(epoch)
        return stage.rate * self.plan.rate((epoch - begin) * self.epochs // (end - begin), top)

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

    def _bounds(self) -> list[tuple[int, int]]:
        total = sum(stage.share for stage in self.stages)
        ends = [round(done * self.epochs / total) for done in accumulate(stage.share for stage in self.stages)]
        for i in range(len(ends)):  # one epoch at least, and one left for every stage that follows
            before, after = ends[i - 1] if i else 0, len(ends) - 1 - i
            ends[i] = min(max(ends[i], before + 1), self.epochs - after)
        return list(zip([0, *ends], ends, strict=False))

    def _stage(self, epoch: int) -> tuple[Stage, int, int]:
        for stage, (begin, end) in zip(self.stages, self._bounds(), strict=True):
            if epoch < end:
                return stage, begin, end
        return self.stages[-1], *self._bounds()[-1]
