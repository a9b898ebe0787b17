"""What all evaluators share: the one interface behind which a table, a training or a proxy measures an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mimar.core.errors import UsageError
from mimar.core.streams import Draws
from mimar.space import Architecture, Measurement, Proposal, Space
from mimar.tasks.protocol import Measure

__all__ = ["Evaluator", "offered", "rungs", "signs"]

SHARES = (9, 3)  # fidelities below the full one are these fractions of it


class Evaluator(Protocol):
    """How good an architecture is: the only part that looks at data or at a clock.

    `measures`: what `evaluate` returns, the primary one first; costs that are known without measuring are among them.
    `fidelities`: increasing, the last one is full; empty where there is one only. `unit` is that of all costs.
    `resumes`: going on from a lower fidelity costs the difference alone.
    """

    @property
    def space(self) -> Space: ...

    @property
    def measures(self) -> tuple[Measure, ...]: ...

    @property
    def fidelities(self) -> tuple[float, ...]: ...

    @property
    def unit(self) -> str: ...

    @property
    def resumes(self) -> bool: ...

    def prepare(self, seed: int) -> float:
        """Do what has to be done once, and return its cost; called again it does nothing and returns the same."""
        ...

    def costs(self, architecture: Architecture) -> Mapping[str, float]:
        """Return what is known of an architecture without spending a query: {"params": …, "macs": …}."""
        ...

    def evaluate(self, proposal: Proposal, fidelity: float | None = None, rng: Draws | None = None) -> Measurement:
        """Measure an architecture at a fidelity, by default the full one; a failure is a status, not an exception."""
        ...

    def verdict(self, architecture: Architecture) -> Mapping[str, float]:
        """Return what is said of a finished search's answer and never told to a strategy, as its test accuracy."""
        ...

    def digest(self) -> str:
        """Return what identifies the data behind the figures."""
        ...


def signs(measures: tuple[Measure, ...]) -> dict[str, int]:
    """Return {metric: +1 to be maximised, −1 to be minimised}, the primary one first."""
    return {measure.name: 1 if measure.direction == "max" else -1 for measure in measures}


def rungs(full: int, chunk: int = 1) -> tuple[float, ...]:
    """Return about a ninth, a third and all of `full` as fidelities; those below it are whole chunks, at least one."""
    return tuple(sorted({float(max(full // share // chunk, 1) * chunk) for share in SHARES} | {float(full)}))


def offered(name: str, fidelity: float, fidelities: tuple[float, ...]) -> float:
    """Return a fidelity that an evaluator has; raises UsageError that says which it has instead."""
    if fidelity not in fidelities:
        raise UsageError(
            f"{name} has no fidelity {fidelity:g}; it has {', '.join(f'{f:g}' for f in fidelities) or 'none'}"
        )
    return fidelity
