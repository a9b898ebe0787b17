"""What all derivations share, and what the loop offers those that train and measure."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from mimar.core.events import Event
from mimar.space import Architecture, Space


class Bench(Protocol):
    """The trained supernet as a derivation may use it. What `held` has is in the state whenever an event is yielded."""

    @property
    def space(self) -> Space: ...

    @property
    def gates(self) -> dict[str, Tensor]:
        """The gates at the end of the search, as for evaluation."""
        ...

    @property
    def held(self) -> dict[str, Any]:
        """JSON that survives a kill."""
        ...

    def score(self, gates: Mapping[str, Tensor]) -> float:
        """Return how good the supernet is under these gates on the validation half; larger is better."""
        ...

    def tune(self, epochs: int, fixed: Mapping[str, Any]) -> Iterator[Event]:
        """Train weights and alphas on, with the choices in `fixed` decided; a killed tuning goes on where it was."""
        ...

    def rng(self, name: str, index: int = 0) -> torch.Generator:
        """Return a stream of the search."""
        ...


class Derivation(Protocol):
    """From gates to an architecture. One that has to train or measure also has `process(bench)`.

    `process` is a generator of events that returns the architecture; started again after a kill, it finds in
    `bench.held` what it left there. Without it, the call is the derivation.
    """

    def __call__(self, space: Space, gates: Mapping[str, Tensor]) -> Architecture: ...


Process = Generator[Event, None, Architecture]


def process(part: Derivation, bench: Bench) -> Process:
    """Derive: by the part's own process, or at once."""
    own = getattr(part, "process", None)
    if own is None:
        return part(bench.space, bench.gates)
    return (yield from own(bench))
