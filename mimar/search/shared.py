"""Shared weights as an evaluator: a supernet is trained on uniform paths once, and then ranks any architecture in a moment.

prepare    p ~ one-hot gates of an architecture drawn from the space;   w ← w − η ∇_w L1(w, p)
evaluate   the primary measure on the validation half under w, batch norm recalibrated for the architecture

Fidelities are samples of the validation half: about a ninth, a third, all of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from mimar.core.errors import UsageError
from mimar.core.events import Event
from mimar.core.optimisers import Sgd
from mimar.core.ranges import Batch, Count, NonNegative, Positive, validate
from mimar.core.reading import part
from mimar.core.state import State
from mimar.core.streams import Draws, stream
from mimar.evaluators import Retrain
from mimar.evaluators.parts import SHARES, offered, rungs
from mimar.gradient.regularise import WeightDecay
from mimar.search import finish
from mimar.search.ground import Known, TableLab
from mimar.search.lab import Lab
from mimar.search.oneshot import OneShot
from mimar.search.weights import SharedWeights
from mimar.space import Architecture, Measurement, Proposal, Space
from mimar.tasks import Measure
from mimar.tasks.protocol import Batch as Samples

CHUNK = 256  # samples that are measured at once below the full fidelity


@dataclass(frozen=True)
class Sharing:
    """How the shared weights are trained: single uniform paths, SGD with cosine learning rate, weight decay."""

    epochs: Count = 20
    batch: Batch = 32
    lr: Positive = 0.05
    decay: NonNegative = 3e-4
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    @staticmethod
    def named(rest: str) -> Sharing:
        """Return what "epochs=10,batch=64" says."""
        return part(Sharing, rest, "shared")

    def on(self, lab: Lab | TableLab, seed: int, device: str) -> SharedNets:
        """Return the evaluator of a search; raises UsageError on a table, which has no networks to share weights."""
        if isinstance(lab, TableLab):
            raise UsageError(f"{lab.table.name} is a table of figures: shared weights need a task with data")
        return SharedNets(self, lab, seed, device)


class SharedNets:
    """The architectures of a lab under shared weights; costs in MACs, preparation included."""

    unit = "MACs"
    resumes = False

    def __init__(self, sharing: Sharing, lab: Lab, seed: int, device: str) -> None:
        self.part, self.lab = sharing, lab
        self.known = Known(lab)
        given: dict[str, Any] = {"net": lab.net, "task": lab.task, "seed": seed, "device": device}
        self.training = OneShot(
            "shared",
            Sgd(lr=sharing.lr),
            (WeightDecay(sharing.decay),),
            sharing.epochs,
            1,
            Retrain(),
            sharing.batch,
            **given,
        )
        self.shared: SharedWeights | None = None

    @property
    def space(self) -> Space:
        """The space of the lab's model."""
        return self.lab.space

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """The task's primary measure on the validation half, then the costs of the finished network."""
        primary = self.lab.primary._replace(name=f"valid_{self.lab.primary.name}")
        return primary, Measure("params", "min", "1"), Measure("macs", "min", "1")

    @property
    def fidelities(self) -> tuple[float, ...]:
        """Samples of the validation half, below the full fidelity in whole chunks."""
        return rungs(self.lab.data.size("valid"), self.chunk)

    @property
    def chunk(self) -> int:
        """The samples that are measured at once below the full fidelity."""
        return max(min(CHUNK, self.lab.data.size("valid") // max(SHARES)), 1)

    def preparing(self, state: State) -> Iterator[Event]:
        """Train the shared weights where `state` has left them: its tensors, and the counters under "prepare"."""
        counters = state.json.setdefault("prepare", {"epoch": 0, "step": 0, "loss_sum": 0.0})
        yield from self.training.train(self.lab, self.attached(state), counters)

    def attached(self, state: State) -> SharedWeights:
        """Take the weights of a state for those that are shared."""
        if self.shared is None or self.shared.state is not state:
            self.shared = SharedWeights(self.lab, state, self.training.inner, self.part.batch)
        return self.shared

    def prepare(self, seed: int) -> float:
        """Train the shared weights to the end, where nobody has, and return what that costs."""
        if self.shared is None:
            for _ in self.preparing(State()):
                pass
        assert self.shared is not None
        return self.training.training_cost(self.lab, self.shared)

    def costs(self, architecture: Architecture) -> Mapping[str, float]:
        """Return parameters and MACs of the finished network."""
        return self.known(architecture)

    def evaluate(self, proposal: Proposal, fidelity: float | None = None, rng: Draws | None = None) -> Measurement:
        """Measure an architecture under the shared weights on the validation half, or on `fidelity` samples of it.

        These are the same for all architectures, and part of those of every higher fidelity. Raises UsageError on a
        fidelity that there is not.
        """
        asked = fidelity if fidelity is not None else proposal.fidelity
        architecture, lab, full = proposal.architecture, self.lab, self.lab.data.size("valid")
        size = full if asked is None else int(offered("the validation half", asked, self.fidelities))
        score = finish.shared_score(
            lab, lab.supernet.gates(architecture), self.part.batch, self._part(size) if size < full else None
        )
        samples = size + finish.CALIBRATION * self.part.batch
        metrics = {self.measures[0].name: score, **self.known(architecture)}
        return Measurement(metrics, float(lab.network_macs(architecture, shared=True) * samples))

    def _part(self, size: int) -> Iterator[Samples]:
        """Return the first `size` samples of the validation half in an order of the search's seed, in chunks."""
        rng = stream(self.training.seed, "fidelity")
        batches = self.lab.data.batches("valid", rng, size=self.chunk, device=self.lab.device)
        return itertools.islice(batches, size // self.chunk)

    def verdict(self, architecture: Architecture) -> Mapping[str, float]:
        """Return nothing: what is found is trained afterwards."""
        return {}

    def digest(self) -> str:
        """Return the digest of the data."""
        return self.lab.data.digest()
