"""A random forest on the one-hot code; its uncertainty is the disagreement of its trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mimar.core.ranges import Count, Fraction, validate
from mimar.core.streams import derive, unmoved
from mimar.predictors.columns import Columns
from mimar.predictors.parts import Prediction, checked, unfitted
from mimar.space import Architecture, Space


@dataclass(frozen=True)
class RandomForest:
    """Regression trees on bootstrap samples; each split sees a share of the columns, `features`. Breiman, 2001."""

    trees: Count = 100
    features: Fraction = 1.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> ForestModel:
        """Return a model that has learned nothing."""
        return ForestModel(self, Columns(space), seed)


class ForestModel:
    """The forest after `fit`."""

    def __init__(self, part: RandomForest, columns: Columns, seed: int) -> None:
        self.part, self.columns, self.seed = part, columns, seed
        self.trees: list[Any] = []

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        """Grow the trees."""
        with unmoved():
            from sklearn.ensemble import RandomForestRegressor

        values, _ = checked(architectures, y)
        share = max(self.part.features, 1.0 / max(len(self.columns), 1))
        seed = derive(self.seed, "forest") % 2**32
        forest = RandomForestRegressor(self.part.trees, max_features=share, random_state=seed, n_jobs=1)
        self.trees = [tree.tree_ for tree in forest.fit(self.columns(architectures), values).estimators_]

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Return mean and standard deviation over the trees."""
        if not self.trees:
            raise unfitted(self)
        codes = self.columns(architectures).astype(np.float32)
        each = np.stack([tree.predict(codes).reshape(len(codes)) for tree in self.trees])  # (trees, N)
        return each.mean(0), each.std(0)
