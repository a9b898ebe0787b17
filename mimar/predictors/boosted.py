"""Gradient-boosted trees on the one-hot code (LightGBM), explained by SHAP values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Positive, Range, validate
from mimar.core.streams import derive, unmoved
from mimar.predictors.columns import Columns
from mimar.predictors.parts import Array, Effect, Prediction, Scale, checked, unfitted
from mimar.space import Architecture, Space

EVERY = 5  # rounds between two draws of the rows


@dataclass(frozen=True)
class BoostedTrees:
    """A sum of `rounds` trees of at most `leaves` leaves, each `lr` times the fit of what the others leave.

    A tree sees a share of the columns, `features`, and of the rows, `rows` (drawn every 5 rounds); a leaf holds at least
    `least` rows, at most a tenth of what is fitted. The standard deviation is over `members` fits with streams of their
    own; with one it is 0. Needs lightgbm, the extra `boost`. Ke et al., 2017; settings of Luo et al., "GBDT-NAS", 2020,
    whose 20 rows a leaf are kept from 200 architectures on.
    """

    rounds: Count = 100
    lr: Positive = 0.05
    leaves: Annotated[int, Range(2)] = 31
    features: Annotated[float, Range(0.0, 1.0, open_low=True)] = 0.9
    rows: Annotated[float, Range(0.0, 1.0, open_low=True)] = 0.8
    least: Count = 20
    members: Count = 1
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> BoostedModel:
        """Return a model that has learned nothing; raises UsageError where lightgbm is missing."""
        try:
            with unmoved():
                import lightgbm  # noqa: F401
        except ImportError:
            raise UsageError(
                "boosted trees need lightgbm, which is not installed: pip install 'mimar[boost]'"
            ) from None
        return BoostedModel(self, Columns(space), seed)


class BoostedModel:
    """The trees after `fit`."""

    def __init__(self, part: BoostedTrees, columns: Columns, seed: int) -> None:
        self.part, self.columns, self.seed = part, columns, seed
        self.members: list[Any] = []
        self.scale = Scale(0.0, 1.0)
        self.codes: Array = np.zeros((0, 0))

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        """Grow the trees, on one thread, so that they are the same everywhere."""
        import lightgbm

        values, self.scale = checked(architectures, y)
        self.codes, target = self.columns(architectures), self.scale.of(values)
        self.members = []
        for member in range(self.part.members):
            data = lightgbm.Dataset(self.codes, target, params={"verbosity": -1, "min_data_in_bin": 1})
            self.members.append(lightgbm.train(self._settings(len(values), member), data, self.part.rounds))

    def _settings(self, n: int, member: int) -> dict[str, Any]:
        part = self.part
        shape = {
            "num_leaves": part.leaves,
            "learning_rate": part.lr,
            "min_data_in_leaf": max(min(part.least, n // 10), 1),
        }
        sampling = {"feature_fraction": part.features, "bagging_fraction": part.rows, "bagging_freq": EVERY}
        fixed = {"deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1, "min_data_in_bin": 1}
        return {
            "objective": "regression",
            "seed": derive(self.seed, "boosted", member) % 2**31,
            **shape,
            **sampling,
            **fixed,
        }

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Return mean and standard deviation over the members."""
        self._ready()
        if not len(architectures):
            return np.zeros(0), np.zeros(0)
        codes = self.columns(architectures)
        each = np.stack([m.predict(codes, num_threads=1) for m in self.members]) * self.scale.std
        return each.mean(0) + self.scale.mean, each.std(0)

    def shares(self, architectures: Sequence[Architecture]) -> Array:
        """Return the SHAP values of every column, and the base last, (N, D + 1): a row sums to the prediction.

        Lundberg et al., "Consistent individualized feature attribution for tree ensembles", 2018.
        """
        return self._shares(self.columns(architectures))

    def _shares(self, codes: Array) -> Array:
        self._ready()
        each = [m.predict(codes, pred_contrib=True, num_threads=1) for m in self.members]
        found: Array = np.mean(each, axis=0) * self.scale.std
        found[:, -1] += self.scale.mean
        return found

    def explain(self) -> list[Effect]:
        """Return the mean SHAP value of every decision over the fitted architectures that take it, best first."""
        shares, taken = self._shares(self.codes)[:, :-1], self.codes > 0
        counts = taken.sum(0)
        means = (shares * taken).sum(0) / np.maximum(counts, 1)
        rows = zip(self.columns.names, means.tolist(), counts.tolist(), strict=True)
        return sorted((Effect(c.name, m, n, *c) for c, m, n in rows), key=lambda e: (-e.effect, e.name))

    def _ready(self) -> None:
        if not self.members:
            raise unfitted(self)
