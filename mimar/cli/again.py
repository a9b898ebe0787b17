"""Training a known architecture again: the last phases of a search without the search, hence a run like any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mimar.core.events import Event
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.search import finish
from mimar.search.lab import Lab, checked_device
from mimar.space import Architecture


@dataclass(frozen=True)
class Again:
    """One architecture (as JSON) trained from scratch, and `baseline` random ones beside it; resumable."""

    name: str
    architecture: str
    retrain: Retrain
    net: str | None = None
    task: str | None = None
    seed: int = 0
    device: str = "cpu"
    baseline: int | None = 0

    def start(self) -> State:
        """Return the state before the first step."""
        checked_device(self.device)
        state, chosen = State(), Architecture.from_json(self.architecture)
        finish.to_retraining(self, self.lab(), state, chosen, cost=0.0)
        return state

    def lab(self) -> Lab:
        """Return what is trained on what."""
        return Lab(self.net, self.task, self.seed, self.device, self.retrain.net)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        yield from finish.events(self, self.lab(), state)
