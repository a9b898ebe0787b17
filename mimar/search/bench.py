"""The trained supernet as derivations that measure and train may use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mimar.core.events import Event, Step
from mimar.core.optimisers import cosine
from mimar.core.streams import stream
from mimar.search import finish
from mimar.space import Space

if TYPE_CHECKING:
    from mimar.search.loop import Loop

SLOWER = 0.1  # the rate of a tuning beside that of the search (Wang et al., ICLR 2021)


class Trained:
    """A `Bench`: scores on the validation half, tuning of weights and alphas, JSON that survives a kill."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.counters = loop.state.json
        self.gates: dict[str, Tensor] = loop.gates()

    @property
    def space(self) -> Space:
        """The space of the supernet."""
        return self.loop.lab.space

    @property
    def held(self) -> dict[str, Any]:
        """JSON that is saved with the state."""
        found: dict[str, Any] = self.counters.setdefault("bench", {})
        return found

    def score(self, gates: Mapping[str, Tensor]) -> float:
        """Return the primary measure on the validation half, larger being better, batch norm recalibrated."""
        lab, batch = self.loop.lab, self.loop.search.batch
        self.counters["macs"] += lab.supernet_macs * (lab.data.size("valid") + finish.CALIBRATION * batch)
        return lab.better(finish.shared_score(lab, self.loop.mixed(gates), batch))

    def rng(self, name: str, index: int = 0) -> torch.Generator:
        """Return a stream of the search."""
        return stream(self.loop.search.seed, "derive", name, index)

    def tune(self, epochs: int, fixed: Mapping[str, Any]) -> Iterator[Event]:
        """Train on for some epochs with the choices in `fixed` decided; what was done before a kill is not repeated.

        Fresh momentum and a cosine from a tenth of the search's first rate, as published.
        """
        loop, counters, per_epoch = self.loop, self.counters, self.loop.shared.per_epoch
        tuning = counters.setdefault("tuning", {"round": 0, "step": 0})
        first = loop.search.schedule.epochs + tuning["round"] * epochs
        if tuning["step"] == 0:
            loop.shared.calm()
        loop.decided = dict(fixed)
        total, plan = epochs * per_epoch, loop.planned(loop.search.schedule.epochs - 1, begin=False)
        while tuning["step"] < total:
            epoch = tuning["step"] // per_epoch
            lr = cosine(epoch / epochs, SLOWER * loop.search.inner.lr)
            for batch in loop.shared.batches(first + epoch, tuning["step"] % per_epoch, loop.augment(first + epoch)):
                yield from loop.pair(batch, first * per_epoch + tuning["step"], lr, plan)
                tuning["step"] += 1
                yield Step("search", "tune", tuning["step"], total)
        counters["tuning"] = {"round": tuning["round"] + 1, "step": 0}
        loop.decided = {}
        self.gates = loop.gates()
