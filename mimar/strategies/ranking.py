"""Predict and rank: learn from some architectures, predict very many, measure those that are predicted best, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Whole, validate
from mimar.predictors.parts import Model, Predictor
from mimar.predictors.ridge import Ridge
from mimar.space import Architecture, Space
from mimar.strategies.guided import Guide, GuidedSearcher, Target
from mimar.strategies.pools import Everything, Pool, Sampled, Scores


@dataclass(frozen=True)
class Predicted:
    """The predicted mean alone."""

    version: ClassVar[int] = 1

    def __call__(self, model: Model, candidates: Sequence[Architecture], measured: Sequence[Architecture]) -> Scores:
        """Return the means."""
        return model.predict(candidates)[0]


@dataclass(frozen=True)
class PredictAndRank:
    """Measure `initial` architectures of `design`, fit the `predictor`, measure the `batch` best of `pool` by its mean; repeat.

    `candidates`: how many the pool is asked for; a space that has no more is predicted as a whole. `target`: what is fitted, see `mimar.strategies.guided.targets`. `prune`: after each fit, that many options with the most negative effects
    on the prediction leave the space of candidates (a predictor that explains decisions, as boosted trees by SHAP values).
    Wen et al., "Neural Predictor", 2020; Luo et al., "GBDT-NAS", 2020.
    """

    predictor: Predictor = Ridge()
    initial: Count = 100
    batch: Count = 50
    candidates: Count = 20_000
    pool: Pool = Everything()
    design: Pool = Sampled()
    target: Target = "rank"
    prune: Whole = 0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> GuidedSearcher:
        """Return a searcher at its beginning; raises UsageError where options are to be pruned by a model that is mute."""
        guide = Guide(
            predictor=self.predictor,
            pool=self.pool,
            design=self.design,
            acquisition=Predicted(),
            initial=self.initial,
            batch=self.batch,
            candidates=self.candidates,
            target=self.target,
            prune=self.prune,
            name="ranking",
        )
        searcher = GuidedSearcher(guide, space, seed)
        if self.prune and not hasattr(searcher.model, "explain"):
            raise UsageError(f"prune={self.prune} needs a predictor that explains decisions, such as boosted trees")
        return searcher
