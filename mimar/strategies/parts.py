"""What all strategies share: proposals, trials, and the two interfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from mimar.space import Architecture, Space


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate; `parent` is the digest of the one it was made from."""

    architecture: Architecture
    fidelity: float | None = None
    parent: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Measurement:
    """What an evaluation gave: metrics, its cost in MACs or seconds, and how it ended."""

    metrics: Mapping[str, float]
    cost: float = 0.0
    status: Literal["ok", "failed", "timeout", "infeasible"] = "ok"


@dataclass(frozen=True)
class Trial:
    """A proposal and what came of it."""

    proposal: Proposal
    result: Measurement


class Searcher(Protocol):
    """A strategy at work on one space: pure given its seed and what it was told."""

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals; `pending` ones are still being evaluated."""
        ...

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take note of trials, in any order and number, failed ones included."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, as JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        ...


class Strategy(Protocol):
    """A frozen description of a strategy."""

    def start(self, space: Space, seed: int) -> Searcher:
        """Return a searcher at its beginning."""
        ...
