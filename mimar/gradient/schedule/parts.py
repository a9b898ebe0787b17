"""What all schedules share: the interface, and what a schedule may ask for at the end of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

History = Sequence[Mapping[str, Any]]  # one a finished epoch: epoch (from 1), skips, ranks, entropy, eigenvalue


@dataclass(frozen=True)
class Stop:
    """End the search with the alphas as they were after `epoch` (from 1)."""

    epoch: int


@dataclass(frozen=True)
class Rollback:
    """Go back to the state after `epoch` (from 1) and go on with these settings merged into the others."""

    epoch: int
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """What trains during an epoch: weights whose names end in one of `only` (all when empty), without those of `rest`.

    `settings`: buffers of these last names get these values ("keep": 0.05), and terms see them. `begin`: what happens to
    the weights, by name and in place, once when a phase begins that differs from the one before.
    """

    only: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)
    begin: Callable[[Mapping[str, Tensor]], None] | None = None


class Schedule(Protocol):
    """The plan of weight and alpha steps: a deterministic function of counters, of what it holds and of the history.

    It may also have `keeps() -> {name: tensor}`, `after_epoch(history) -> Stop | Rollback | None`, `probes` (names of
    what the history has to hold beyond the usual: "eigenvalue"), `past` (how many epochs it may go back) and
    `phase(epoch) -> Phase`; the functions below give what they give, or nothing.
    """

    @property
    def epochs(self) -> int: ...

    def rate(self, epoch: int, top: float) -> float:
        """Return the weights' learning rate in `epoch` (from 0)."""
        ...

    def outer_due(self, step: int, per_epoch: int, norm: float = 0.0, held: dict[str, Tensor] | None = None) -> bool:
        """Tell whether an alpha step follows the weight step number `step` (from 0); `norm`: of its gradient."""
        ...

    def outer_steps(self, per_epoch: int) -> int:
        """Return the number of alpha steps of a whole search."""
        ...


def keeps(part: Schedule) -> dict[str, Tensor]:
    """Return what a schedule keeps between steps, as it is at the start."""
    own = getattr(part, "keeps", None)
    return {} if own is None else own()


def after_epoch(part: Schedule, history: History) -> Stop | Rollback | None:
    """Return what a schedule asks for at the end of an epoch."""
    own = getattr(part, "after_epoch", None)
    return None if own is None else own(history)


def probes(part: Schedule) -> tuple[str, ...]:
    """Return what a schedule wants to be measured after each epoch."""
    return getattr(part, "probes", ())


def probing(part: Schedule, epoch: int) -> tuple[str, ...]:
    """Return which of the probes are due after `epoch` (from 1): all, unless a schedule says so by `probing(epoch)`."""
    own = getattr(part, "probing", None)
    return probes(part) if own is None else own(epoch)


def past(part: Schedule) -> int:
    """Return how many epochs a schedule may go back."""
    return getattr(part, "past", 0)


def phase(part: Schedule, epoch: int) -> Phase:
    """Return what trains in `epoch` (from 0)."""
    own = getattr(part, "phase", None)
    return Phase() if own is None else own(epoch)
