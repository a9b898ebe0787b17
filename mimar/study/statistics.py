"""One comparison against random search, fixed beforehand: a rank test, an effect size, and what it could have seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mimar.core.errors import UsageError

FEWEST = 8  # seeds on which a claim may rest
ALPHA = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Comparison:
    """`ours` against `theirs`, larger is better: means, spreads, the two-sided Mann–Whitney test, the effect.

    `effect`: P(ours > theirs) + ½ P(equal), ½ where nothing differs. `detectable`: the smallest difference of means that
    a two-sided test at level 0.05 would have found with power 0.8, from the pooled spread and the normal approximation.
    """

    n: int
    mean: float
    std: float
    mean_theirs: float
    std_theirs: float
    difference: float
    p: float
    effect: float
    detectable: float

    @property
    def verdict(self) -> str:
        """Better, worse, or "no difference shown" (below what could be detected, or not significant)."""
        if self.p < ALPHA:
            return "better" if self.difference > 0 else "worse"
        return "no difference shown"

    def to_json(self) -> dict[str, Any]:
        """Return all figures with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Comparison:
    """Compare two samples of equal size, one figure a seed; raises UsageError below 8 seeds."""
    import numpy as np
    from scipy import stats

    if len(ours) != len(theirs) or len(ours) < FEWEST:
        raise UsageError(f"a claim needs at least {FEWEST} seeds on both sides; got {len(ours)} and {len(theirs)}")
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    n = len(a)
    test = stats.mannwhitneyu(a, b, alternative="two-sided")
    pooled = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    reach = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)
    return Comparison(
        n=n,
        mean=float(a.mean()),
        std=float(a.std(ddof=1)),
        mean_theirs=float(b.mean()),
        std_theirs=float(b.std(ddof=1)),
        difference=float(a.mean() - b.mean()),
        p=float(test.pvalue),
        effect=float(test.statistic / (n * n)),
        detectable=float(reach * pooled * math.sqrt(2 / n)),
    )
