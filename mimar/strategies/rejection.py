"""Architectures that must not be proposed are drawn again; what that does to the law that proposes.

Drawn again until it is in the set V of those that may be, a proposal has the law P(a | V) = P(a) / P(V), and

    ∇ E[R | V] = E[ (R − b)·∇(log P(a) − log P(V)) | V ],    ∇ log P(V) = E[ ∇ log P(z) | z ∈ V ]

Yang et al., "TabNAS: Rejection Sampling for Neural Architecture Search on Tabular Datasets", NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.space.counting import count
from mimar.strategies.policies import Array, Drawn, Sampler

TRIES = 1000  # draws from a policy before the space itself is asked
LISTED = 20_000  # architectures that are gone through one by one

Broken = Collection[Architecture]  # architectures that were told to break a limit


def proposal(sampler: Sampler, space: Space, broken: Broken, draws: Draws) -> Drawn:
    """Draw from a policy until the space allows it and it is not known to be broken; then from the space.

    Raises SpaceError where none can be found.
    """
    for _ in range(TRIES):
        drawn = sampler.draw(draws)[0]
        if space.allows(drawn.architecture) and not (broken and drawn.architecture in broken):
            return drawn
    found = space.sample(draws)
    return Drawn(found, float(sampler.measure([found])[0][0]))


def mode(sampler: Sampler, space: Space, broken: Broken, draws: Draws) -> Architecture:
    """Return the most probable architecture that may be proposed: of all, or of 1,000 draws beyond 20,000."""
    if count(space.ordered) <= LISTED:
        found = [a for a in space.enumerate() if a not in broken]
    else:
        found = [proposal(sampler, space, broken, draws).architecture for _ in range(TRIES)]
    if not found:
        raise UsageError("every architecture of the space is known to break a limit")
    return found[int(np.argmax(sampler.measure(found)[0]))]


@dataclass(frozen=True)
class Rejection:
    """What is done about the law having changed by drawing again.

    `correction` estimates ∇ log P(V): "none" takes it as 0; "fraction" averages ∇ log P(z) over those of `samples`
    draws that are in V, the gradient of the unbiased fraction of draws in V; "mass" weighs them by P(z), as the
    released example does (biased); "exact" goes through the whole space, of at most 20,000. Where no draw is in V, the step is
    left out. V is what the space allows and was not told as infeasible: before it is told, an architecture counts as
    allowed, so that limits that a space does not know are corrected for as they become known.
    """

    correction: Literal["none", "fraction", "mass", "exact"] = "none"
    samples: Count = 5
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def check(self, space: Space) -> None:
        """Raise UsageError where the space is too large to be gone through."""
        if self.correction == "exact" and count(space.ordered) > LISTED:
            raise UsageError(
                f"an exact correction goes through the space, which has more than {LISTED}: take 'fraction'"
            )

    def companions(self, sampler: Sampler, space: Space, broken: Broken, draws: Draws) -> list[Architecture] | None:
        """Return what ∇ log P(V) is estimated with, nothing where V is all; None to leave the step out."""
        if self.correction == "none" or not (space.constraints or broken):
            return []
        if self.correction == "exact":
            return [a for a in space.enumerate() if a not in broken]
        drawn = (d.architecture for d in sampler.draw(draws, self.samples))
        return [a for a in drawn if space.allows(a) and a not in broken] or None

    def shares(self, logs: Array) -> Array:
        """Return what each companion counts, from their log-probabilities (N,); the sum is 1."""
        if self.correction == "fraction":
            return np.full(len(logs), 1.0 / len(logs))
        raised = np.exp(logs - logs.max())
        return raised / raised.sum()
