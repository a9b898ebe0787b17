"""A Gaussian process over architectures: the mean of what it knows, and how little it knows of the rest.

    y ~ N(0, K + λI) in standard units;     mean(a) = k_aᵀ (K + λI)⁻¹ y,     var(a) = 1 − k_aᵀ (K + λI)⁻¹ k_a

The setting of the kernel and λ are those of largest marginal likelihood among finitely many:

    −log p(y) = ½ yᵀ(K + λI)⁻¹y + ½ log |K + λI| + const

From one decomposition K = V diag(w) Vᵀ a setting, every λ follows in O(N²). Rasmussen and Williams, 2006, equations 2.25,
2.26 and 2.30.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.ranges import Range, validate
from mimar.predictors.parts import Array, Effect, Prediction, Scale, checked, unfitted
from mimar.predictors.weisfeiler_lehman import Motifs, WeisfeilerLehman
from mimar.space import Architecture, Space

LEAST, GRID = 1e-5, 13  # the smallest λ, and how many are tried


class Similarity(Protocol):
    """A kernel at work on one space; k(a, a) = 1. `settings`: what of it is to be chosen, as depths or scales."""

    @property
    def settings(self) -> tuple[Any, ...]: ...

    def fit(self, architectures: Sequence[Architecture]) -> list[Array]:
        """Take note of N architectures and return their kernel under every setting, (N, N) each."""
        ...

    def cross(self, architectures: Sequence[Architecture], setting: int) -> Array:
        """Return the kernel of M architectures with those noted, (M, N)."""
        ...


class Kernel(Protocol):
    """A frozen description of a kernel."""

    def start(self, space: Space) -> Similarity:
        """Return the kernel on a space."""
        ...


@dataclass(frozen=True)
class GaussianProcess:
    """Gaussian-process regression under a `kernel`; λ, the share of noise in the variance, is at most `noise`."""

    kernel: Kernel = WeisfeilerLehman()
    noise: Annotated[float, Range(LEAST, 1.0)] = 0.1
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> Posterior:
        """Return a model; nothing in it is random."""
        return Posterior(self, self.kernel.start(space))


class Fitted(NamedTuple):
    """What was chosen and found: the setting's number, λ, K = V diag(w) Vᵀ, (K + λI)⁻¹y, and the scale of y."""

    setting: int
    noise: float
    w: Array
    v: Array
    weights: Array
    scale: Scale
    cost: float  # −log p(y) without its constant


class Posterior:
    """The process after `fit`."""

    def __init__(self, part: GaussianProcess, similarity: Similarity) -> None:
        self.part, self.similarity = part, similarity
        self.fitted: Fitted | None = None

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        """Choose setting and noise by marginal likelihood, and condition on y."""
        values, scale = checked(architectures, y)
        target = scale.of(values)
        grid = np.geomspace(LEAST, self.part.noise, GRID)
        found = []
        for k, gram in enumerate(self.similarity.fit(architectures)):
            w, v = np.linalg.eigh(gram)
            w = np.maximum(w, 0.0)  # rounding
            z, sums = v.T @ target, w[:, None] + grid  # (N,), (N, λ)
            costs = 0.5 * ((z * z) @ (1.0 / sums) + np.log(sums).sum(0))
            best = int(costs.argmin())
            weights = v @ (z / sums[:, best])
            found.append(Fitted(k, float(grid[best]), w, v, weights, scale, float(costs[best])))
        self.fitted = min(found, key=lambda f: f.cost)

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Return mean and standard deviation of what the architectures are worth, without noise."""
        f = self._fitted()
        cross = self.similarity.cross(architectures, f.setting)  # (M, N)
        seen = np.square(cross @ f.v) @ (1.0 / (f.w + f.noise))
        std = f.scale.std * np.sqrt(np.maximum(1.0 - seen, 0.0))
        return f.scale.mean + f.scale.std * (cross @ f.weights), std

    def explain(self) -> list[Effect]:
        """Return the motifs of the fitted architectures by ∂ mean / ∂ φ_j, averaged over these architectures.

        A motif's effect is what one more occurrence of it adds to the prediction. Raises UsageError on a space without
        graphs. Ru et al., 2021, section 3.2.
        """
        f, motifs = self._fitted(), self.similarity
        if not isinstance(motifs, Motifs):
            raise UsageError(
                "a Gaussian process over decisions has no motifs; they need a space with a graph structure"
            )
        slopes = f.scale.std * motifs.slopes(f.weights, f.setting).mean(0)
        found = [Effect(name, float(s), n) for (name, n), s in zip(motifs.described(f.setting), slopes, strict=True)]
        return sorted(found, key=lambda e: (-e.effect, e.name))

    def _fitted(self) -> Fitted:
        if self.fitted is None:
            raise unfitted(self)
        return self.fitted
