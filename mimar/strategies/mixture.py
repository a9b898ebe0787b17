"""Searching for the weights of known scores instead of for an architecture: each weighting has an architecture it likes best.

    score_w(A) = Σ_i w_i M_i(A),   w ∈ [−1, 1]^M,   M_i the scores, scaled to [0, 1] over the candidates
    explore    w_t = argmax_w μ(w) + β σ(w) of a Gaussian process on (w, value of what w likes best);   measure that, if new
    exploit    measure what is new along the ranking by the best w

Shapes: N candidates, M scores. A score is anything that is known of architectures before they are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, NonNegative, validate
from mimar.core.streams import Draws
from mimar.objectives import utilities
from mimar.predictors.gaussian import GaussianProcess, Posterior
from mimar.space import Architecture, Space
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Past
from mimar.strategies.pools import Everything, Scene

Array = np.ndarray[Any, Any]
TRIED = 5000  # random weightings among which the acquisition is maximised
SCALES = tuple(np.geomspace(0.1, 10.0, 13).tolist())  # lengths in the space of weights, chosen by likelihood


class Scores(Protocol):
    """Scores of architectures, larger is better; NaN or infinite where there is none. `costly`: worth keeping."""

    @property
    def costly(self) -> bool: ...

    def __call__(self, architectures: Sequence[Architecture]) -> Array:
        """Return the scores, (N, M)."""
        ...


@dataclass(frozen=True)
class ScoreMixture:
    """Bayesian optimisation of the weights of `scores` in `steps` steps, then down the ranking of the best weights.

    `candidates`: all of a space that has no more, else that many drawn from it. A step whose architecture was measured
    before costs no query, so that `steps` of them spend at most as many. The process has a Matérn kernel (ν = 5/2) fitted
    by likelihood, the first weights are random; `beta` weighs uncertainty. What failed counts as the worst value.
    He, Shu and Low, "Robustifying and Boosting Training-Free Neural Architecture Search", ICLR 2024.
    """

    scores: Scores | Any
    steps: Count = 20
    candidates: Count = 500
    beta: NonNegative = 2.576
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def on(self, *where: Any) -> ScoreMixture:
        """Return the strategy with scores that were told where the search takes place, if they ask for it."""
        return replace(self, scores=self.scores.on(*where)) if hasattr(self.scores, "on") else self

    def reads(self) -> str:
        """Return the digest of the data that the scores are read from; "" where they are computed."""
        read: str = self.scores.digest() if hasattr(self.scores, "digest") else ""
        return read

    def start(self, space: Space, seed: int) -> MixtureSearcher:
        """Return a searcher at its beginning; raises UsageError while the scores are a mere description."""
        if not callable(self.scores):
            raise UsageError("the scores of a mixture are computed on a model or read from a table: bind them by on(…)")
        return MixtureSearcher(self, space, seed)


class MixtureSearcher:
    """A search for weights at work: the weightings tried, what each likes best, and what was measured."""

    def __init__(self, part: ScoreMixture, space: Space, seed: int) -> None:
        self.part, self.space, self.seed = part, space, seed
        self.draws = Draws(seed, "mixture")
        self.tried: list[tuple[list[float], int]] = []  # weights, and the number of the candidate they like best
        self.past = Past()
        self.seen: set[Architecture] = set()  # asked or told, failed ones too
        self.failed: set[Architecture] = set()
        self.allowed: Callable[[Architecture], bool] | None = None
        self.pool: list[Architecture] = []
        self.matrix: Array | None = None

    def inform(self, costs: Any, allowed: Callable[[Architecture], bool] | None) -> None:
        """Take note of which architectures keep the limits, if any are set."""
        self.allowed = allowed

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals: what new weightings like best, then what the best weighting likes next."""
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal:
        matrix = self._scores()
        while len(self.tried) < self.part.steps and len(self.pool):
            weights = self._next(matrix.shape[1])
            best = int(np.argmax(matrix @ weights))
            self.tried.append((weights.tolist(), best))
            if self.pool[best] not in self.seen:
                return self._proposal(self.pool[best], "explore")
        for i in ranking(matrix, self._best_weights(matrix.shape[1])) if len(self.pool) else ():
            if self.pool[i] not in self.seen:
                return self._proposal(self.pool[i], "exploit")
        return self._proposal(self.space.sample(self.draws), "random")

    def _proposal(self, architecture: Architecture, how: str) -> Proposal:
        self.seen.add(architecture)
        return Proposal(architecture, None, None, {"how": how})

    def _scores(self) -> Array:
        """Return the scaled scores of the candidates, drawn and scored at the first call."""
        if not self.pool:
            scene = Scene(self.space, Draws(self.seed, "candidates"), allowed=self.allowed)
            self.pool = list(Everything(self.part.candidates)(scene, self.part.candidates))
        if self.matrix is None:
            self.matrix = scaled(np.asarray(self.part.scores(self.pool), dtype=np.float64))
        return self.matrix

    def _values(self) -> dict[int, float]:
        """Return {number of a candidate: what it is worth}, failed ones as the worst; pending ones are absent."""
        known = self.past.top()
        worth = dict(zip([k.architecture for k in known], utilities([k.values for k in known]), strict=True))
        worst = min(worth.values(), default=0.0)
        found = {}
        for _, i in self.tried:
            value = worth.get(self.pool[i], worst if self.pool[i] in self.failed else None)
            if value is not None:
                found[i] = value
        return found

    def _next(self, m: int) -> Array:
        """Return the weights (M,) of largest upper confidence bound; random ones while nothing is known."""
        rng, values = self.draws.numpy(), self._values()
        candidates: Array = rng.uniform(-1.0, 1.0, (TRIED, m))
        if not values:
            first: Array = candidates[0]
            return first
        mean = sum(values.values()) / len(values)  # stands for what is pending
        w = np.array([weights for weights, _ in self.tried])
        y = np.array([values.get(i, mean) for _, i in self.tried])
        found: Array = candidates[int(np.argmax(bound(w, y, candidates, self.part.beta)))]
        return found

    def _best_weights(self, m: int) -> Array:
        """Return the weights whose architecture is the best measured; equal ones where nothing is known."""
        values = self._values()
        known = [(values[i], -n) for n, (_, i) in enumerate(self.tried) if i in values]
        return np.array(self.tried[-max(known)[1]][0]) if known else np.ones(m)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take note; what failed or breaks a limit is not asked again."""
        for trial in trials:
            self.seen.add(trial.architecture)
            if self.past.add(trial) is None:
                self.failed.add(trial.architecture)

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, as JSON; costly scores are kept, others are computed anew."""
        kept = self.matrix is not None and self.part.scores.costly
        return {
            "drawn": self.draws.drawn,
            "tried": [[w, i] for w, i in self.tried],
            "past": self.past.state_dict(),
            "seen": [dict(a) for a in sorted(self.seen, key=lambda a: a.digest)],
            "failed": [dict(a) for a in sorted(self.failed, key=lambda a: a.digest)],
            "scores": self.matrix.tolist() if kept and self.matrix is not None else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.draws.drawn = int(state["drawn"])
        self.tried = [(list(w), int(i)) for w, i in state["tried"]]
        self.past.load_state_dict(state["past"])
        self.seen, self.failed = ({Architecture(a) for a in state[key]} for key in ("seen", "failed"))
        if state["scores"] is not None:
            self.matrix = np.array(state["scores"])
        if self.tried:
            self._scores()  # the candidates whose numbers were noted


def scaled(scores: Array) -> Array:
    """Return scores (N, M) scaled to [0, 1] column by column; what is not finite gets 0, the worst, like a constant column.

    So a mixture's ranking does not depend on units: a·M + b with a > 0 in the place of M gives the same.
    """
    there = np.isfinite(scores)
    low = np.where(there, scores, np.inf).min(0, initial=np.inf)
    high = np.where(there, scores, -np.inf).max(0, initial=-np.inf)
    span = np.where(high > low, high - low, 1.0)
    found: Array = np.where(there & (high > low), (scores - np.where(np.isfinite(low), low, 0.0)) / span, 0.0)
    return found


def ranking(scores: Array, weights: Array) -> list[int]:
    """Return the numbers of the candidates by Σ_i w_i M_i, best first; of equals the first."""
    order: list[int] = np.argsort(-(scores @ weights), kind="stable").tolist()
    return order


def bound(w: Array, y: Array, candidates: Array, beta: float) -> Array:
    """Return μ + β σ at the candidates of a Gaussian process fitted to values y (n,) at weights w (n, M)."""
    process = Posterior(GaussianProcess(), Matern())
    points: Any = w
    process.fit(points, y.tolist())
    points = candidates
    mean, std = process.predict(points)
    found: Array = mean + beta * std
    return found


class Matern:
    """The kernel (1 + √5 r + 5r²/3) exp(−√5 r), r the distance of two vectors in units of a scale; made for one fit."""

    settings: tuple[float, ...] = SCALES

    def fit(self, points: Any) -> list[Array]:
        """Return the kernel of vectors (n, M) with themselves under every scale, (n, n) each."""
        self.points = np.asarray(points)
        return [self.cross(points, k) for k in range(len(SCALES))]

    def cross(self, points: Any, setting: int) -> Array:
        """Return the kernel of vectors (m, M) with those that were fitted, (m, n)."""
        squares = np.square(points).sum(1)[:, None] + np.square(self.points).sum(1) - 2 * points @ self.points.T
        r = np.sqrt(5.0 * np.maximum(squares, 0.0)) / SCALES[setting]
        found: Array = (1 + r + r * r / 3) * np.exp(-r)
        return found
