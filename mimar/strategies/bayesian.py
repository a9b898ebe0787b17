"""Bayesian optimisation: measure where a model with uncertainty expects the largest improvement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mimar.core.ranges import Count, validate
from mimar.predictors.gaussian import GaussianProcess
from mimar.predictors.parts import Model, Predictor
from mimar.space import Architecture, Space
from mimar.strategies.guided import Guide, GuidedSearcher, Target
from mimar.strategies.pools import Mutants, Pool, Sampled, Scores

FAR = -1e3  # below, the logarithm of the improvement is that of its leading term


@dataclass(frozen=True)
class ExpectedImprovement:
    """log E[max(f − f*, 0)] = log σ + log(φ(z) + z Φ(z)),   z = (μ − f*) / σ;   f* the largest μ of what was measured.

    The logarithm keeps apart candidates of which no improvement is expected to float precision.
    """

    version: ClassVar[int] = 1

    def __call__(self, model: Model, candidates: Sequence[Architecture], measured: Sequence[Architecture]) -> Scores:
        """Return the logarithm of the expected improvement."""
        best = float(model.predict(measured)[0].max())
        mean, std = model.predict(candidates)
        std = np.maximum(std, 1e-12 * max(1.0, abs(best)))
        found: Scores = np.log(std) + log_improvement((mean - best) / std)
        return found


def log_improvement(z: Scores) -> Scores:
    """Return log(φ(z) + z Φ(z)) without loss of precision for negative z (Ament et al., 2023, equation 9)."""
    from scipy.special import erfcx, ndtr

    low, high = np.clip(z, FAR, -1.0), np.maximum(z, -1.0)
    density = -0.5 * math.log(2 * math.pi)
    right = np.log(np.exp(density - high * high / 2) + high * ndtr(high))
    left = density - low * low / 2 + np.log1p(math.sqrt(math.pi / 2) * low * erfcx(-low / math.sqrt(2)))
    farther = density - z * z / 2 - 2 * np.log(np.maximum(-z, 1.0))
    found: Scores = np.where(z > -1.0, right, np.where(z > FAR, left, farther))
    return found


@dataclass(frozen=True)
class Bayesian:
    """Bayesian optimisation over a pool: half random, half mutants of the best, by expected improvement, in batches.

    The first `initial` proposals are random. Then the `predictor`, one with a standard deviation, is fitted, and of
    `candidates` from `pool` the `batch` best are proposed, which to the model are different. `target`: what is fitted,
    see `mimar.strategies.guided.targets`. White et al., "BANANAS", 2021; Ru et al., "NAS-BOWL", 2021.
    """

    predictor: Predictor = GaussianProcess()
    initial: Count = 10
    batch: Count = 5
    candidates: Count = 200
    pool: Pool = Mutants()
    target: Target = "rank"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> GuidedSearcher:
        """Return a searcher at its beginning."""
        guide = Guide(
            predictor=self.predictor,
            pool=self.pool,
            design=Sampled(),
            acquisition=ExpectedImprovement(),
            initial=self.initial,
            batch=self.batch,
            candidates=self.candidates,
            target=self.target,
            name="bayesian",
        )
        return GuidedSearcher(guide, space, seed)
