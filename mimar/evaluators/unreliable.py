"""Failures, timeouts and noise on top of any evaluator: what a strategy has to live with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from mimar.core.errors import UsageError
from mimar.core.ranges import Fraction, NonNegative, validate
from mimar.core.streams import Draws
from mimar.evaluators.parts import Evaluator
from mimar.space import Architecture, Measurement, Proposal, Space
from mimar.tasks.protocol import Measure


@dataclass(frozen=True)
class Unreliable:
    """An evaluator whose answers fail with the probability `failures`, run out of time with `timeouts`, or are noisy.

    A failed evaluation costs a uniform share of its cost, one that runs out of time all of it; both have no figures.
    `noise`: the standard deviation of a normal number added to every measured figure, in its own unit; known costs and
    verdicts stay exact. What happens is drawn from the stream of the evaluation after the evaluator's own draws, so that
    its figures are those it has alone; without a stream it depends on architecture and fidelity alone. Everything else is
    the evaluator's own.
    """

    evaluator: Evaluator
    failures: Fraction = 0.1
    noise: NonNegative = 0.0
    timeouts: Fraction = 0.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)
        if self.failures + self.timeouts > 1.0:
            raise UsageError(f"failures and timeouts are {self.failures:g} and {self.timeouts:g}: together at most 1")

    @property
    def space(self) -> Space:
        """The evaluator's own."""
        return self.evaluator.space

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The evaluator's own."""
        return self.evaluator.measures

    @property
    def fidelities(self) -> tuple[float, ...]:
        """The evaluator's own."""
        return self.evaluator.fidelities

    @property
    def unit(self) -> str:
        """The evaluator's own."""
        return self.evaluator.unit

    @property
    def resumes(self) -> bool:
        """The evaluator's own."""
        return self.evaluator.resumes

    def prepare(self, seed: int) -> float:
        """Prepare the evaluator; this never fails."""
        return self.evaluator.prepare(seed)

    def costs(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the evaluator's known costs."""
        return self.evaluator.costs(architecture)

    def verdict(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the evaluator's verdict."""
        return self.evaluator.verdict(architecture)

    def digest(self) -> str:
        """Return the evaluator's digest with what is done to it."""
        return f"{self.evaluator.digest()}-{self.failures:g}-{self.noise:g}-{self.timeouts:g}"

    def identity(self) -> str:
        """Return what stands for the evaluator in the description of a run."""
        return self.digest()

    def evaluate(self, proposal: Proposal, fidelity: float | None = None, rng: Draws | None = None) -> Measurement:
        """Return what the evaluator measures, if nothing goes wrong; what is infeasible stays so."""
        result = self.evaluator.evaluate(proposal, fidelity, rng)
        if result.status != "ok":
            return result
        own = Draws(rng.bits(), "unreliable") if rng is not None else _fixed(proposal, fidelity)
        fate, share = own.uniform(), own.uniform()
        if fate < self.failures:
            return Measurement({}, share * result.cost, "failed")
        if fate < self.failures + self.timeouts:
            return Measurement({}, result.cost, "timeout")
        if not self.noise:
            return result
        exact = self.evaluator.costs(proposal.architecture)
        errors = iter((own.numpy().standard_normal(len(result.metrics) + len(result.curve)) * self.noise).tolist())
        metrics = {n: v if n in exact else v + next(errors) for n, v in result.metrics.items()}
        primary = self.measures[0].name
        curve = [v + next(errors) for v in result.curve]
        return replace(result, metrics=metrics, curve=[*curve[:-1], metrics[primary]] if curve else ())


def _fixed(proposal: Proposal, fidelity: float | None) -> Draws:
    level = proposal.fidelity if fidelity is None else fidelity
    return Draws(0, "unreliable", proposal.architecture.digest, str(level))
