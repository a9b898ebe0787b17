"""What all strategies share: the two interfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mimar.space import Space
from mimar.space.trial import Measurement, Proposal, Trial

__all__ = ["Measurement", "Proposal", "Searcher", "Strategy", "Trial"]


class Searcher(Protocol):
    """A strategy at work on one space: pure given its seed and what it was told.

    One that has `inform(costs, allowed)` is told before all else what is free to know: a function from an architecture to
    its known costs, and one that says whether it keeps the limits (None where nothing is limited).
    """

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
