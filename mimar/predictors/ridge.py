"""Ridge regression on the one-hot code: the effect of every option by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mimar.core.ranges import Positive, validate
from mimar.predictors.columns import Columns
from mimar.predictors.parts import Array, Effect, Prediction, Scale, checked, unfitted
from mimar.space import Architecture, Space


@dataclass(frozen=True)
class Ridge:
    """w = (XᵀX + λI)⁻¹ Xᵀy,  var(x) = σ² xᵀ(XᵀX + λI)⁻¹x, with X and y centred, λ the `penalty`, σ² the mean squared residual."""

    penalty: Positive = 1.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> RidgeModel:
        """Return a model; nothing in it is random."""
        return RidgeModel(self, Columns(space))


class RidgeModel:
    """The regression after `fit`."""

    def __init__(self, part: Ridge, columns: Columns) -> None:
        self.part, self.columns = part, columns
        self.weights: Array | None = None
        self.codes: Array = np.zeros((0, 0))
        self.middle: Array = np.zeros(0)
        self.inverse: Array = np.zeros((0, 0))
        self.scale, self.noise = Scale(0.0, 1.0), 0.0

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        """Solve the normal equations."""
        values, self.scale = checked(architectures, y)
        self.codes = self.columns(architectures)
        self.middle = self.codes.mean(0)
        x, target = self.codes - self.middle, values - self.scale.mean
        self.inverse = np.linalg.inv(x.T @ x + self.part.penalty * np.eye(x.shape[1]))
        self.weights = self.inverse @ (x.T @ target)
        self.noise = float(np.square(target - x @ self.weights).mean())

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Return the predictions and the standard deviations of the regression's own uncertainty."""
        if self.weights is None:
            raise unfitted(self)
        x = self.columns(architectures) - self.middle
        variance = self.noise * ((x @ self.inverse) * x).sum(1)
        return self.scale.mean + x @ self.weights, np.sqrt(np.maximum(variance, 0.0))

    def explain(self) -> list[Effect]:
        """Return the weight of every decision, best first: what taking it adds, beside what not taking another does."""
        if self.weights is None:
            raise unfitted(self)
        counts = (self.codes > 0).sum(0).tolist()
        rows = zip(self.columns.names, self.weights.tolist(), counts, strict=True)
        return sorted((Effect(c.name, w, n, *c) for c, w, n in rows), key=lambda e: (-e.effect, e.name))
