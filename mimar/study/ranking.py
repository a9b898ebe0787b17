"""Many comparisons at once: effect sizes with intervals, rank tests, and Holm's correction over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.streams import Draws

LEVEL = 0.01  # of a corrected test against random search
RESAMPLES = 1000
FEWEST = 8


@dataclass(frozen=True)
class Versus:
    """One arm against another, larger is better: p, p corrected, and the effect with its 95 % interval.

    `effect` is P(ours > theirs) + ½ P(equal) (Vargha and Delaney's A₁₂); the interval is a percentile bootstrap.
    """

    p: float
    corrected: float
    effect: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Better or worse at the level 0.01 after correction, else "no difference shown"."""
        if self.corrected < LEVEL:
            return "better" if self.effect > 0.5 else "worse"
        return "no difference shown"

    def to_json(self) -> dict[str, Any]:
        """Return all figures with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def effect(ours: Any, theirs: Any) -> float:
    """Return A₁₂ = P(ours > theirs) + ½ P(equal)."""
    a, b = np.asarray(ours, dtype=float)[:, None], np.asarray(theirs, dtype=float)[None, :]
    return float(np.mean((a > b) + 0.5 * (a == b)))


def interval(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of A₁₂, both samples drawn anew, from the seed's stream."""
    rng = Draws(seed, "bootstrap").numpy()
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    wins = (a[:, None] > b[None, :]) + 0.5 * (a[:, None] == b[None, :])  # (N, M)
    rows = rng.multinomial(len(a), np.full(len(a), 1 / len(a)), size=RESAMPLES) / len(a)  # how often each is drawn
    columns = rng.multinomial(len(b), np.full(len(b), 1 / len(b)), size=RESAMPLES) / len(b)
    found = np.einsum("rn,nm,rm->r", rows, wins, columns, optimize=True)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def holm(ps: Sequence[float]) -> list[float]:
    """Return Holm's corrected p-values: of the k-th smallest of m, (m − k + 1) p, made monotone and at most 1."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    found, largest = [0.0] * len(ps), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min((len(ps) - place) * ps[i], 1.0))
        found[i] = largest
    return found


def against(
    arms: Mapping[str, Sequence[float]], reference: Sequence[float], *, paired: bool = False
) -> dict[str, Versus]:
    """Return every arm against the reference, tested two-sided and corrected over the arms.

    Mann–Whitney where the runs are independent; `paired`: Wilcoxon's signed ranks, run i against run i, which share
    random numbers. Raises UsageError below 8 runs, and where pairs do not match.
    """
    from scipy import stats

    ps = []
    for name, values in arms.items():
        if min(len(values), len(reference)) < FEWEST:
            raise UsageError(f"a comparison needs at least {FEWEST} runs of each; {name} has {len(values)}")
        if not paired:
            ps.append(float(stats.mannwhitneyu(values, reference, alternative="two-sided").pvalue))
        elif len(values) != len(reference):
            raise UsageError(f"{name} has {len(values)} runs and its pairs {len(reference)}")
        else:
            same = np.array_equal(values, reference)
            ps.append(1.0 if same else float(stats.wilcoxon(values, reference).pvalue))
    corrected = holm(ps)
    return {
        name: Versus(p, c, effect(values, reference), *interval(values, reference))
        for (name, values), p, c in zip(arms.items(), ps, corrected, strict=True)
    }
