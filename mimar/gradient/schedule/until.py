"""A schedule that a rule may end or turn back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from mimar.core.ranges import validate
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


class Rule(Protocol):
    """Looks at the finished epochs, and may end the search or send it back: a function of the history alone.

    It may also have `probes` (what the history has to hold beyond the usual) and `past` (how many epochs it looks back).
    """

    def __call__(self, history: History) -> Stop | Rollback | None: ...


@dataclass(frozen=True)
class Until:
    """The schedule `plan`, whose every epoch ends with the question to `rule` whether to stop or to go back.

    What the plan itself asks for comes first. Everything else is the plan's.
    """

    plan: Schedule
    rule: Rule
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    @property
    def epochs(self) -> int:
        """The plan's epochs: those of a search that nothing stops."""
        return self.plan.epochs

    @property
    def probes(self) -> tuple[str, ...]:
        """What the plan or the rule wants to be measured."""
        return tuple(dict.fromkeys(probes(self.plan) + _asked(self.rule, "probes", ())))

    def probing(self, epoch: int) -> tuple[str, ...]:
        """Return what is due to be measured after `epoch` (from 1)."""
        return tuple(dict.fromkeys(probing(self.plan, epoch) + _due(self.rule, epoch)))

    @property
    def past(self) -> int:
        """How many epochs the plan or the rule may go back."""
        return max(past(self.plan), _asked(self.rule, "past", 0))

    def rate(self, epoch: int, top: float) -> float:
        """Return the plan's learning rate."""
        return self.plan.rate(epoch, top)

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
        """Return what the plan asks for, or else the rule."""
        found = after_epoch(self.plan, history)
        return self.rule(history) if found is None else found

    def phase(self, epoch: int) -> Phase:
        """Return the plan's phase."""
        return phase(self.plan, epoch)


def _asked(rule: Rule, name: str, otherwise: Any) -> Any:
    return getattr(rule, name, otherwise)


def _due(rule: Rule, epoch: int) -> tuple[str, ...]:
    own = getattr(rule, "probing", None)
    return _asked(rule, "probes", ()) if own is None else own(epoch)
