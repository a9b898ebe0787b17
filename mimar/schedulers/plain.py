"""Schedulers of one fidelity: whoever is free takes the next proposal, or everyone waits for the slowest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mimar.core.ranges import Count, validate
from mimar.schedulers.parts import Ask, Job, Values


@dataclass(frozen=True)
class Asynchronous:
    """Every free worker takes the next proposal at once, at the fidelity that it names; with one worker: serial."""

    version: ClassVar[int] = 1

    def start(self, fidelities: tuple[float, ...], seed: int) -> Straight:
        """Return a course at its beginning."""
        return Straight()


class Straight:
    """The course without a memory."""

    def next(self, ask: Ask) -> Job | None:
        """Return the strategy's next proposal."""
        proposal = ask()
        return None if proposal is None else Job(proposal, proposal.fidelity)

    def told(self, job: Job, values: Values | None) -> None:
        """Note nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is nothing to remember."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from nothing."""


@dataclass(frozen=True)
class Synchronous:
    """Proposals start in rounds of `batch`: the next round begins when all of the last have ended."""

    batch: Count = 4
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, fidelities: tuple[float, ...], seed: int) -> Rounds:
        """Return a course at its beginning."""
        return Rounds(self.batch)


class Rounds:
    """Counts what of the round has begun and what has ended."""

    def __init__(self, batch: int) -> None:
        self.batch, self.begun, self.ended = batch, 0, 0

    def next(self, ask: Ask) -> Job | None:
        """Return a job of the round, or None until the round has ended."""
        if self.begun == self.batch and self.ended == self.batch:
            self.begun = self.ended = 0
        if self.begun == self.batch or (proposal := ask()) is None:
            return None
        self.begun += 1
        return Job(proposal, proposal.fidelity)

    def told(self, job: Job, values: Values | None) -> None:
        """Count one that has ended."""
        self.ended += 1

    def state_dict(self) -> dict[str, Any]:
        """Return both counts."""
        return {"begun": self.begun, "ended": self.ended}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from both counts."""
        self.begun, self.ended = int(state["begun"]), int(state["ended"])
