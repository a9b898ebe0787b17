"""What a session keeps book of: what was spent, and the jobs under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, NamedTuple

from mimar.schedulers import Job
from mimar.space import Measurement, Proposal, Trial


class Running(NamedTuple):
    """A job under way: when it ends, its number, what it is, when it began, what it will give; None and inf if unknown."""

    ended: float
    number: int
    job: Job
    begun: float
    result: Measurement | None
    repeated: bool


@dataclass
class Ledger:
    """What a search has spent: `cost` in the evaluator's unit, over all workers; `clock` is the time that passed."""

    queries: int = 0
    cost: float = 0.0
    prepared: float = 0.0
    clock: float = 0.0
    failed: int = 0
    infeasible: int = 0
    repeated: int = 0
    lost: int = 0  # under way when the budget ended


def at(job: Job) -> Proposal:
    """Return the proposal of a job at the fidelity of the job."""
    return job.proposal if job.fidelity == job.proposal.fidelity else replace(job.proposal, fidelity=job.fidelity)


def packed(one: Running) -> dict[str, Any]:
    """Return a job under way as JSON; it has no status as long as nothing is known of it."""
    more = {"since": one.job.since, "key": one.job.key, "at": one.job.fidelity}
    more |= {"status": None} if one.result is None else {"ended": one.ended}
    trial = Trial(one.job.proposal, one.result or Measurement({}), (), one.number, one.begun, 0.0, one.repeated)
    return trial.to_json() | more


def unpacked(data: Mapping[str, Any]) -> Running:
    """Return what `packed` described."""
    t, known = Trial.from_json(data), data["status"] is not None
    job = Job(t.proposal, data["at"], data["since"], data["key"])
    return Running(t.ended if known else inf, t.number, job, t.begun, t.result if known else None, t.repeated)


def job_json(job: Job) -> dict[str, Any]:
    """Return a job as JSON."""
    return {
        "trial": Trial(job.proposal, Measurement({})).to_json(),
        "fidelity": job.fidelity,
        "since": job.since,
        "key": job.key,
    }


def job_of(data: Mapping[str, Any]) -> Job:
    """Return what `job_json` described."""
    return Job(Trial.from_json(data["trial"]).proposal, data["fidelity"], data["since"], data["key"])
