"""An evaluator behind another space: architectures of the one are measured as those of the other that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mimar.core.streams import Draws
from mimar.evaluators.parts import Evaluator
from mimar.space import Architecture, Measurement, Proposal, Space
from mimar.space.transforms.image import Image
from mimar.tasks.protocol import Measure


@dataclass(frozen=True)
class Mapped:
    """Measures architectures of `space` by `evaluator`, whose space they reach by `back`.

    So a table answers for its pruned, grown or poisoned space, or for one factor of a product. Costs, fidelities and the
    verdict are those of the evaluator.
    """

    evaluator: Evaluator
    space: Space
    back: Callable[[Architecture], Architecture]

    @staticmethod
    def of(evaluator: Evaluator, image: Image) -> Mapped:
        """Return the evaluator of a transformed space."""
        return Mapped(evaluator, image.space, image.back)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What a query returns, the primary one first."""
        return self.evaluator.measures

    @property
    def fidelities(self) -> tuple[float, ...]:
        """The fidelities of the evaluator."""
        return self.evaluator.fidelities

    @property
    def unit(self) -> str:
        """The unit of costs."""
        return self.evaluator.unit

    @property
    def resumes(self) -> bool:
        """Whether going on from a lower fidelity costs the difference alone."""
        return self.evaluator.resumes

    def prepare(self, seed: int) -> float:
        """Prepare the evaluator."""
        return self.evaluator.prepare(seed)

    def costs(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the known costs of what the architecture stands for."""
        return self.evaluator.costs(self.back(architecture))

    def evaluate(self, proposal: Proposal, fidelity: float | None = None, rng: Draws | None = None) -> Measurement:
        """Measure what the proposal stands for."""
        there = replace(proposal, architecture=self.back(proposal.architecture))
        return self.evaluator.evaluate(there, fidelity, rng)

    def verdict(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the verdict on what the architecture stands for."""
        return self.evaluator.verdict(self.back(architecture))

    def digest(self) -> str:
        """Return the digest of the data behind the figures."""
        return self.evaluator.digest()
