"""Density ratios: propose what looks like the good ones and unlike the bad ones.

    x* = argmax l(x) / g(x) over `samples` draws near good ones,      l = KDE(best `top`),   g = KDE(the rest)

Kernels are products over the choices, on their unit-cube codes: Gaussian for sizes and values, Aitchison and Aitken's for
options (1 − h for the same one, h / (C − 1) for each of the C − 1 others).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mimar.core.ranges import Count, Fraction, Positive, validate
from mimar.core.streams import Draws
from mimar.objectives import utilities
from mimar.space import Architecture, Space, judged
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Values

Array = np.ndarray[Any, Any]
FLOOR = np.log(1e-32)  # a density counts as at least this
TINY = 1e-300


@dataclass(frozen=True)
class DensityRatio:
    """A pair of kernel density estimates on the highest fidelity with enough points. Falkner et al., "BOHB", 2018.

    The good ones are the best `top` of the n measured there, the bad ones the rest, each at least `points` (None: one more
    than there are choices); before that, and for a share `random` of proposals, the space is sampled. Bandwidths are the
    normal reference 1.06 σ n^(−1/(4+C)), at least `bandwidth`, and `wider` times as wide where sizes and values are drawn.
    A choice that is inactive counts as spread over its range. Who failed is bad.

    `repeat=False` passes over draws that were measured or are pending: in small discrete spaces the ratio has its maximum
    at a few architectures, and most proposals would be repetitions.
    """

    top: Fraction = 0.15
    samples: Count = 64
    random: Fraction = 1 / 3
    wider: Positive = 3.0
    bandwidth: Positive = 1e-3
    points: Count | None = None
    repeat: bool = False
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> DensitySearcher:
        """Return a searcher at its beginning."""
        return DensitySearcher(self, space, seed)


class DensitySearcher:
    """Density ratios at work: by fidelity, what was told."""

    def __init__(self, part: DensityRatio, space: Space, seed: int) -> None:
        self.part, self.space = part, space
        self.draws = Draws(seed, "density")
        self.told: dict[float | None, list[tuple[Architecture, Values | None]]] = {}
        self.seen: set[Architecture] = set()
        self._pair: tuple[Estimate, Estimate] | None = None
        self._fresh = False  # whether the pair is that of all that was told

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals, none of the pending ones among those that the ratio chose."""
        found: list[Proposal] = []
        for _ in range(n):
            found.append(self._one({p.architecture for p in (*pending, *found)}))
        return found

    def _one(self, pending: set[Architecture]) -> Proposal:
        pair = self.pair()
        if pair is None or self.draws.uniform() < self.part.random:
            return Proposal(self.space.sample(self.draws))
        drawn = self._drawn(pair[0])
        if not self.part.repeat:
            drawn = [arch for arch in drawn if arch not in self.seen and arch not in pending]
        if not drawn:  # nothing near the good ones is new and satisfies the constraints
            return Proposal(self.space.sample(self.draws))
        return Proposal(drawn[int(self.score(drawn).argmax())])

    def score(self, architectures: Sequence[Architecture]) -> Array:
        """Return log l − log g of architectures, (N,); needs enough points for a pair."""
        pair = self.pair()
        assert pair is not None
        codes = self._codes(architectures)
        good, bad = (np.maximum(estimate.log(codes), FLOOR) for estimate in pair)
        return good - bad

    def pair(self) -> tuple[Estimate, Estimate] | None:
        """Return the estimates of good and bad; None before there are enough points."""
        if not self._fresh:
            self._pair, self._fresh = self._fitted(), True
        return self._pair

    def _fitted(self) -> tuple[Estimate, Estimate] | None:
        least = max(self.part.points or 0, len(self.space.ordered) + 1)
        for level in sorted(self.told, key=lambda f: float("inf") if f is None else f, reverse=True):
            told = self.told[level]
            good = max(least, int(self.part.top * len(told)))
            if len(told) >= good + least:
                codes = self._codes([arch for arch, _ in told])[_order([values for _, values in told])]
                options = [0 if c.kind in ("size", "value") else int(c.count) for c in self.space.ordered]
                above, below = (Estimate(part, options, self.part.bandwidth) for part in (codes[:good], codes[good:]))
                return above, below
        return None

    def _codes(self, architectures: Sequence[Architecture]) -> Array:
        """Return unit-cube codes, (N, C), NaN where inactive."""
        ordered = self.space.ordered
        rows = [[c.unit(a[c.name]) if c.name in a else np.nan for c in ordered] for a in architectures]
        return np.array(rows).reshape(len(rows), len(ordered))

    def _drawn(self, good: Estimate) -> list[Architecture]:
        codes = good.draw(self.part.samples, self.part.wider, self.draws.numpy())
        found = []
        for row in codes.tolist():
            place = {c.name: u for c, u in zip(self.space.ordered, row, strict=True)}
            arch = self.space.complete({}, lambda c, place=place: c.at(place[c.name]))  # type: ignore[misc]
            if self.space.allows(arch):
                found.append(arch)
        return found

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take note at the fidelity of each trial; what breaks a limit says nothing."""
        for trial in trials:
            if trial.result.status != "infeasible":
                self.told.setdefault(trial.proposal.fidelity, []).append((trial.architecture, judged(trial)))
                self.seen.add(trial.architecture)
                self._fresh = False

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        told = [[level, [[dict(a), values] for a, values in told]] for level, told in self.told.items()]
        return {"drawn": self.draws.drawn, "told": told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.draws.drawn, self._fresh = int(state["drawn"]), False
        self.told = {
            level: [(Architecture(a), None if values is None else tuple(values)) for a, values in told]
            for level, told in state["told"]
        }
        self.seen = {arch for told in self.told.values() for arch, _ in told}


class Estimate:
    """A kernel density estimate on (N, C) codes; `options` (C,): how many a choice has, 0 for sizes and values."""

    def __init__(self, data: Array, options: Sequence[int], least: float) -> None:
        self.data, self.options = data, np.array(options)
        spread = [_deviation(column[~np.isnan(column)], n > 0) for column, n in zip(data.T, options, strict=True)]
        scott = 1.06 * np.array(spread) * len(data) ** (-1.0 / (4 + data.shape[1]))
        most = np.where(
            self.options > 0, 1.0 - 1.0 / np.maximum(self.options, 1), np.inf
        )  # beyond, others are preferred
        self.widths: Array = np.minimum(np.maximum(scott, least), most)  # (C,)

    def log(self, codes: Array) -> Array:
        """Return the logarithm of the density at (M, C) codes: (M,). An unknown code is averaged out."""
        h, n = self.widths, self.options
        apart = codes[:, None, :] - self.data[None, :, :]  # (M, N, C)
        near = -0.5 * np.square(apart / np.where(h > 0, h, 1.0)) - np.log(np.where(h > 0, h, 1.0) * np.sqrt(2 * np.pi))
        same = np.log(np.maximum(1.0 - h, TINY))
        other = np.log(np.maximum(h / np.maximum(n - 1, 1), TINY))
        found = np.where(n > 0, np.where(apart == 0.0, same, other), near)
        anywhere = -np.log(
            np.maximum(n, 1)
        )  # a datum that is spread over the range: 1 on the unit interval, 1/C an option
        found = np.where(np.isnan(self.data)[None], anywhere, found)
        found = np.where(np.isnan(codes)[:, None, :], 0.0, found).sum(-1)
        highest = found.max(1, keepdims=True)
        total: Array = highest[:, 0] + np.log(np.exp(found - highest).mean(1))
        return total

    def draw(self, count: int, wider: float, rng: Any) -> Array:
        """Return `count` codes near random data: (count, C)."""
        from scipy.special import ndtr, ndtri

        centre = self.data[rng.integers(len(self.data), size=count)]
        shape = centre.shape
        h = self.widths * wider
        h = np.where(h > 0, h, 1.0)
        low, high = ndtr(-centre / h), ndtr((1.0 - centre) / h)
        near = np.clip(centre + h * ndtri(low + rng.random(shape) * (high - low)), 0.0, 1.0)
        anywhere = rng.random(shape)
        kept = rng.random(shape) >= self.widths
        found = np.where(self.options > 0, np.where(kept, centre, anywhere), near)
        return np.where(np.isnan(centre), anywhere, found)


def _deviation(column: Array, options: bool) -> float:
    """Return the standard deviation; of options √(½ P(two differ)), which for two of them is that of 0 and 1."""
    if len(column) == 0:
        return 0.0
    if not options:
        return float(column.std())
    _, counts = np.unique(column, return_counts=True)
    return float(np.sqrt(0.5 * (1.0 - np.square(counts / len(column)).sum())))


def _order(values: Sequence[Values | None]) -> Array:
    """Return who is better than whom, best first; who failed is last."""
    judged_ones = [v for v in values if v is not None]
    worth = iter(utilities(judged_ones))
    return np.argsort([-next(worth) if v is not None else np.inf for v in values], kind="stable")
