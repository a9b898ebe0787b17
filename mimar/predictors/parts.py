"""What all predictors share: two interfaces, and the effect of one feature.

N architectures. What is predicted, y, is a number an architecture, larger is better, in any unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from mimar.core.errors import DataError
from mimar.space import Architecture, Space

Array = np.ndarray[Any, Any]
Prediction = tuple[Array, Array]  # mean and standard deviation, (N,) float64 each, in units of y


class Model(Protocol):
    """A predictor at work on one space.

    `fit` forgets what was fitted before: the model is a function of (space, seed, architectures, y), so that whoever keeps
    these keeps the model. Those that can say what they learned have `explain() -> list[Effect]`, best first.
    """

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        """Learn from architectures and what was measured of them; raises DataError where nothing can be learned."""
        ...

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Return mean and standard deviation; the latter is 0 for models that have none."""
        ...


class Predictor(Protocol):
    """A frozen description of a model."""

    def start(self, space: Space, seed: int) -> Model:
        """Return a model that has learned nothing; raises UsageError where it cannot describe the space."""
        ...


class Effect(NamedTuple):
    """What a feature does to the prediction, in units of y; `times` says how many fitted architectures have it.

    `choice` and `option` say which decision it is, where it is one.
    """

    name: str
    effect: float
    times: int
    choice: str | None = None
    option: Any = None


class Scale(NamedTuple):
    """Mean and standard deviation of what was fitted; a deviation of 1 where all are equal."""

    mean: float
    std: float

    def of(self, y: Array) -> Array:
        """Return y in standard units."""
        found: Array = (y - self.mean) / self.std
        return found


def checked(architectures: Sequence[Any], y: Sequence[float] | Array) -> tuple[Array, Scale]:
    """Return y as (N,) float64 with its scale; raises DataError where there is nothing, or something else than numbers."""
    values = np.asarray(y, dtype=np.float64)
    if len(architectures) == 0 or values.shape != (len(architectures),):
        raise DataError(
            f"a predictor learns from one number an architecture: {len(architectures)} of these, y of shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise DataError("a predictor learns from finite numbers; y holds others")
    spread = float(values.std())
    return values, Scale(float(values.mean()), spread if spread > 0 else 1.0)


def unfitted(model: object) -> DataError:
    """Return what is raised when a model is asked before it was fitted."""
    return DataError(f"{type(model).__name__} was asked before it was fitted; call fit(architectures, y) first")
