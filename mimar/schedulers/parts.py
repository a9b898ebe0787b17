"""What all schedulers share: when which proposal is measured at which fidelity. They never measure and know no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from mimar.space import Proposal

Ask = Callable[[], Proposal | None]  # the strategy's next proposal; None when it has no more
Values = tuple[float, ...]  # one number an objective, larger is better


class Job(NamedTuple):
    """A proposal to measure: at `fidelity` (None: the full one), going on from `since` where it was measured before.

    `key` is the scheduler's own number of the proposal.
    """

    proposal: Proposal
    fidelity: float | None = None
    since: float | None = None
    key: int = 0


class Course(Protocol):
    """A scheduler at work; pure given what it was told."""

    def next(self, ask: Ask) -> Job | None:
        """Return the next job for a free worker; None when nothing can start before something ends, or ever."""
        ...

    def told(self, job: Job, values: Values | None) -> None:
        """Note a job's values; None where it failed."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, as JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        ...


class Scheduler(Protocol):
    """A frozen description of a scheduler."""

    def start(self, fidelities: tuple[float, ...], seed: int) -> Course:
        """Return a course at its beginning; raises UsageError where the fidelities do not suffice."""
        ...
