"""Scores for strategies that ask for them before anything is measured: of untrained networks, or out of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.ranges import Batch, Count, validate
from mimar.evaluators import benchmarks
from mimar.evaluators.parts import Evaluator
from mimar.search.ground import TableLab
from mimar.search.lab import Lab
from mimar.search.untrained import Untrained
from mimar.space import Architecture, Proposal
from mimar.strategies.mixture import Scores


@dataclass(frozen=True)
class Scored:
    """What scores a strategy gets: names of proxies joined by "+", computed as by `Untrained`; or "table:PATH", all its
    measured columns (`mimar.study.proxies` writes such a table, so that a whole space is scored once). From Python, any
    function of architectures (`mimar.strategies.mixture.Scores`).
    """

    scores: str | Scores
    batch: Batch = 16
    images: Literal["task", "noise"] = "task"
    draws: Count = 1
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)
        if isinstance(self.scores, str) and not benchmarks.is_benchmark(self.scores):
            Untrained(self.scores)

    def digest(self) -> str:
        """Return the digest of the table that the scores are read from; "" where there is none."""
        read = isinstance(self.scores, str) and benchmarks.is_benchmark(self.scores)
        return benchmarks.named(str(self.scores)).digest() if read else ""

    def on(self, lab: Lab | TableLab, seed: int, device: str) -> Scores:
        """Return the scores as a function of architectures; raises UsageError for a table of another space."""
        if not isinstance(self.scores, str):
            return self.scores
        if not benchmarks.is_benchmark(self.scores):
            untrained = Untrained(self.scores, self.batch, self.images, self.draws)
            return Figures(untrained.on(lab, seed, device), tuple(untrained.parts()), True)
        table = benchmarks.named(self.scores)
        if {c.name: c.options for c in table.space.choices} != {c.name: c.options for c in lab.space.choices}:
            raise UsageError(f"{self.scores} holds scores of another space than {lab.caption} has")
        return Figures(table, tuple(c.measure.name for c in table.measured), False)


@dataclass(frozen=True, eq=False)
class Figures:
    """Measures of an evaluator as scores of architectures, each turned so that larger is better; NaN where there is none."""

    evaluator: Evaluator
    names: tuple[str, ...]
    costly: bool

    def __call__(self, architectures: Sequence[Architecture]) -> np.ndarray[Any, Any]:
        """Return the scores, (N, M) float64."""
        signs = {m.name: 1.0 if m.direction == "max" else -1.0 for m in self.evaluator.measures}
        rows = [self.evaluator.evaluate(Proposal(a)).metrics for a in architectures]
        return np.array([[signs[n] * row.get(n, np.nan) for n in self.names] for row in rows]).reshape(
            -1, len(self.names)
        )
