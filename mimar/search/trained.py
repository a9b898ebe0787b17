"""Training from scratch as an evaluator: what a lab's networks reach on data that none of them trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mimar.core.errors import NonFiniteError
from mimar.core.events import Record
from mimar.core.state import State
from mimar.core.streams import Draws
from mimar.evaluators import Retrain, training
from mimar.evaluators.parts import rungs
from mimar.evaluators.train import Job
from mimar.search.ground import Known
from mimar.search.lab import Lab
from mimar.space import Architecture, Measurement, Proposal, Space
from mimar.tasks import Measure


class TrainedNets:
    """The networks of a lab, each trained by one recipe; costs in MACs, 3 a sample and step.

    Fidelities are epochs: a ninth, a third and all of those of `retrain`. A training of fewer epochs has its own schedule
    of the learning rate, so that a longer one begins anew. Test figures are kept for `verdict` and told to nobody.
    """

    unit = "MACs"
    resumes = False

    def __init__(self, lab: Lab, retrain: Retrain) -> None:
        self.lab, self.retrain = lab, retrain
        self.known = Known(lab)
        self.tested: dict[Architecture, dict[str, float]] = {}

    @property
    def space(self) -> Space:
        """The space of the lab's model."""
        return self.lab.space

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The task's measures on the holdout, then the costs."""
        judged = tuple(m._replace(name=f"valid_{m.name}") for m in self.lab.data.task.measures)
        return (*judged[:1], Measure("params", "min", "1"), Measure("macs", "min", "1"))

    @property
    def fidelities(self) -> tuple[float, ...]:
        """Epochs."""
        return rungs(self.retrain.epochs)

    def part(self, fidelity: float | None) -> Retrain:
        """Return the training of a fidelity."""
        return self.retrain if fidelity is None else replace(self.retrain, epochs=int(fidelity))

    def prepare(self, seed: int) -> float:
        """Trainings from scratch need no preparation."""
        return 0.0

    def costs(self, architecture: Architecture) -> Mapping[str, float]:
        """Return parameters and MACs."""
        return self.known(architecture)

    def measurement(self, found: Mapping[str, Any]) -> Measurement:
        """Return what a finished training's record says, without its test figures."""
        metrics = {k: v for k, v in found["metrics"].items() if not k.startswith("test_")}
        return Measurement(metrics, float(found["budget"]))

    def evaluate(self, proposal: Proposal, fidelity: float | None = None, rng: Draws | None = None) -> Measurement:
        """Train an architecture to the end; `failed` where the loss is not finite."""
        label = f"trial-{proposal.architecture.digest}"
        lab = self.lab
        job = Job(label, "search", label, lab.final, proposal.architecture, lab.data, lab.seed, lab.device)
        try:
            for event in training(self.part(fidelity), job, State()):
                if isinstance(event, Record) and event.data["event"] == "trained":
                    self.tested[proposal.architecture] = event.data["metrics"]
                    return self.measurement(event.data)
        except NonFiniteError:
            return Measurement({}, 0.0, "failed")
        raise AssertionError("a training ends with its record")

    def verdict(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the test figures of an architecture; it is trained where it was not."""
        if architecture not in self.tested:
            self.evaluate(Proposal(architecture))
        return {k: v for k, v in self.tested.get(architecture, {}).items() if k.startswith("test_")}

    def digest(self) -> str:
        """Return the digest of the data."""
        return self.lab.data.digest()
