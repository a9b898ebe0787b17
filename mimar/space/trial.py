"""What black-box search passes around: a proposal, what its evaluation gave, and both together as a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mimar.space.architecture import Architecture

Status = Literal["ok", "failed", "timeout", "infeasible"]
STATUSES: tuple[Status, ...] = ("ok", "failed", "timeout", "infeasible")


@dataclass(frozen=True, slots=True)
class Proposal:
    """An architecture to evaluate; `parent` is the digest of the one it was made from, `fidelity` None for the full one."""

    architecture: Architecture
    fidelity: float | None = None
    parent: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an evaluation gave: metrics, its cost in the evaluator's unit (seconds or MACs), how it ended, its curve."""

    metrics: Mapping[str, float]
    cost: float = 0.0
    status: Status = "ok"
    curve: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """A proposal and what came of it.

    `values`: what the objective makes of the metrics, larger is better, one number or several; empty where there is
    nothing to judge. `number` counts jobs from 0; `begun` and `ended` are on the search's clock; `repeated`: the same
    architecture was measured before at this fidelity; `since`: the fidelity from which a proposal that was told before
    went on.
    """

    proposal: Proposal
    result: Measurement
    values: tuple[float, ...] = ()
    number: int = 0
    begun: float = 0.0
    ended: float = 0.0
    repeated: bool = False
    since: float | None = None

    @property
    def architecture(self) -> Architecture:
        """The architecture of the proposal."""
        return self.proposal.architecture

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        proposal, result = self.proposal, self.result
        plain = {n: list(v) if isinstance(v, tuple) else v for n, v in proposal.architecture.items()}
        found: dict[str, Any] = {"number": self.number, "architecture": plain}
        found |= {"metrics": dict(result.metrics), "cost": result.cost, "status": result.status}
        found |= {"values": list(self.values), "begun": self.begun, "ended": self.ended}
        optional: dict[str, Any] = {
            "fidelity": proposal.fidelity,
            "parent": proposal.parent,
            "meta": dict(proposal.meta),
        }
        optional |= {"curve": list(result.curve), "repeated": self.repeated, "since": self.since}
        return found | {key: value for key, value in optional.items() if value not in (None, {}, [], False)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Trial:
        """Return the trial that `to_json` described."""
        architecture = Architecture(data["architecture"])
        proposal = Proposal(architecture, data.get("fidelity"), data.get("parent"), data.get("meta", {}))
        result = Measurement(data["metrics"], data["cost"], data["status"], tuple(data.get("curve", ())))
        times = (data["number"], data["begun"], data["ended"], data.get("repeated", False), data.get("since"))
        return Trial(proposal, result, tuple(data["values"]), *times)


def judged(trial: Trial) -> tuple[float, ...] | None:
    """Return what a strategy learns from a trial: its values; None where it failed or has none that are finite.

    A trial without values that has metrics is judged by "valid_accuracy", else by the first that begins with "valid",
    else by the first: what a caller means who tells a strategy figures without an objective.
    """
    if trial.result.status != "ok":
        return None
    values = trial.values
    if not values:
        metrics = trial.result.metrics
        name = "valid_accuracy" if "valid_accuracy" in metrics else next((m for m in metrics if m[:5] == "valid"), None)
        name = name or next(iter(metrics), None)
        if name is None:
            return None
        values = (float(metrics[name]),)
    return values if all(v - v == 0.0 for v in values) else None  # neither infinite nor NaN
