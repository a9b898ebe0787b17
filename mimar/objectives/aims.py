"""What is to be maximised: from the metrics of a trial to one number or several, larger being better.

`signs` names the metrics of an evaluator with their direction, +1 to be maximised and −1 to be minimised, the primary
one first. `history` holds the trials before, for objectives that look at an individual's past.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from mimar.core.errors import UsageError, nearest
from mimar.core.ranges import Positive, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.space.trial import Trial

Metrics = Mapping[str, float]
TYPICAL = 25  # random architectures whose median cost is the target where none is given


class Objective(Protocol):
    """What a search maximises. Raises UsageError on a metric that the evaluator does not have."""

    def values(self, trial: Trial, signs: Mapping[str, int], history: Sequence[Trial]) -> tuple[float, ...]:
        """Return the values of a trial, as many for every trial."""
        ...


@dataclass(frozen=True)
class Best:
    """One metric, by default the primary one: s·m, s its sign."""

    metric: str | None = None
    version: ClassVar[int] = 1

    def values(self, trial: Trial, signs: Mapping[str, int], history: Sequence[Trial]) -> tuple[float, ...]:
        """Return the metric, so that larger is better."""
        return (_signed(trial, self.metric or next(iter(signs)), signs),)


@dataclass(frozen=True)
class Vector:
    """Several metrics at once: (s₁·m₁, s₂·m₂, …). Which trade-off is best is left open: the search looks for the front."""

    metrics: tuple[str, ...]
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)
        if len(set(self.metrics)) < len(self.metrics) or len(self.metrics) < 2:
            raise UsageError(f"a vector objective needs two or more different metrics, not {self.metrics!r}")

    def values(self, trial: Trial, signs: Mapping[str, int], history: Sequence[Trial]) -> tuple[float, ...]:
        """Return the metrics, so that larger is better."""
        return tuple([_signed(trial, metric, signs) for metric in self.metrics])


@dataclass(frozen=True)
class WeightedProduct:
    """A metric traded against a cost: m · (c / target)^w, w = `below` where c ≤ target, else `above`.

    Without a target it is the median cost of 25 random architectures, the same ones whatever the seed; see `settled`.
    −0.07 for both lets a doubled cost pay for 5 % of relative accuracy (2^−0.07 = 0.953); (0, −1) is a hard limit. Tan
    et al., "MnasNet", CVPR 2019, equations 2 and 3.
    """

    cost: str
    target: Positive | None = None
    below: float = -0.07
    above: float = -0.07
    metric: str | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def values(self, trial: Trial, signs: Mapping[str, int], history: Sequence[Trial]) -> tuple[float, ...]:
        """Return the product; the metric must be one to be maximised."""
        metric = self.metric or next(iter(signs))
        if signs.get(metric, 1) < 0:
            raise UsageError(f"a weighted product needs a metric to be maximised, and {metric} is to be minimised")
        if self.target is None:
            raise UsageError("a weighted product without a target has to be settled on a space first")
        ratio = _metric(trial, self.cost, signs) / self.target
        return (_metric(trial, metric, signs) * ratio ** (self.below if ratio <= 1.0 else self.above),)


@dataclass(frozen=True)
class AbsoluteReward:
    """A metric less a penalty for a cost off its target, on either side: s·m − beta · |c / target − 1|.

    Bender et al., "TuNAS", CVPR 2020, equation 4 (their β is negative).
    """

    cost: str
    target: Positive
    beta: Positive = 0.07
    metric: str | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def values(self, trial: Trial, signs: Mapping[str, int], history: Sequence[Trial]) -> tuple[float, ...]:
        """Return the reward."""
        off = abs(_metric(trial, self.cost, signs) / self.target - 1.0)
        return (_signed(trial, self.metric or next(iter(signs)), signs) - self.beta * off,)


@dataclass(frozen=True)
class Power:
    """A metric to a power, which stretches the differences near the top: m^exponent. Zoph and Le, 2017, use 3."""

    exponent: Positive = 3.0
    metric: str | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def values(self, trial: Trial, signs: Mapping[str, int], history: Sequence[Trial]) -> tuple[float, ...]:
        """Return the power of a metric in [0, ∞) to be maximised; of one to be minimised, −m^exponent."""
        metric = self.metric or next(iter(signs))
        return (signs[metric] * max(_metric(trial, metric, signs), 0.0) ** self.exponent,)


@dataclass(frozen=True)
class Tangent:
    """tan(m · π/2) of an accuracy in [0, 1): going from 0.9 to 0.91 counts more than from 0.8 to 0.81. Cai et al., 2018."""

    metric: str | None = None
    version: ClassVar[int] = 1

    def values(self, trial: Trial, signs: Mapping[str, int], history: Sequence[Trial]) -> tuple[float, ...]:
        """Return the tangent; an accuracy of 1 is taken as 1 − 1e-6."""
        metric = self.metric or next(iter(signs))
        return (math.tan(min(max(_metric(trial, metric, signs), 0.0), 1.0 - 1e-6) * math.pi / 2),)


@dataclass(frozen=True)
class Potential:
    """A metric and how it improves: (s·m, slope of the least-squares line through the individual's values over time).

    An architecture measured once has the neutral slope 0. The past is every earlier trial of the same architecture at the
    same fidelity.
    He et al., "EMARS", 2022.
    """

    metric: str | None = None
    version: ClassVar[int] = 1

    def values(self, trial: Trial, signs: Mapping[str, int], history: Sequence[Trial]) -> tuple[float, ...]:
        """Return (value, slope per measurement)."""
        metric = self.metric or next(iter(signs))
        level = trial.proposal.fidelity
        past = [t for t in history if t.architecture == trial.architecture and t.result.status == "ok"]
        past = [t for t in past if t.proposal.fidelity == level]
        ys = [*(_signed(t, metric, signs) for t in past), _signed(trial, metric, signs)]
        return ys[-1], slope(ys)


def slope(ys: Sequence[float]) -> float:
    """Return the slope of the least-squares line through (0, y₀), (1, y₁), …; 0 of fewer than two."""
    n = len(ys)
    if n < 2:
        return 0.0
    middle, mean = (n - 1) / 2, math.fsum(ys) / n
    spread = math.fsum((i - middle) ** 2 for i in range(n))
    return math.fsum((i - middle) * (y - mean) for i, y in enumerate(ys)) / spread


def settled(objective: Objective, space: Space, costs: Callable[[Architecture], Metrics]) -> Objective:
    """Return an objective whose target is a number: as it is, or the median cost of 25 random architectures of the space.

    They are the same ones whatever the seed of a search, so that all its seeds have one target. Raises UsageError for a
    cost that is not known without measuring.
    """
    if not isinstance(objective, WeightedProduct) or objective.target is not None:
        return objective
    draws = Draws(0, "target")
    found = [known for known in (costs(space.sample(draws)) for _ in range(TYPICAL)) if known]
    if not found or objective.cost not in found[0]:
        raise UsageError(nearest(objective.cost, found[0] if found else (), kind="cost"))
    return replace(objective, target=sorted(known[objective.cost] for known in found)[len(found) // 2])


def aim(given: Objective | tuple[str, ...] | str | None) -> Objective:
    """Return an objective given as itself, or by metrics: none for the primary one, several for a front."""
    if given is None or given == ():
        return Best()
    if isinstance(given, str):
        given = tuple(word.strip() for word in given.split(","))
    if isinstance(given, tuple):
        return Best(given[0]) if len(given) == 1 else Vector(given)
    if not hasattr(given, "values"):
        raise UsageError(f"an objective is a part of mimar.objectives or names of metrics, not {given!r}")
    return given


def _metric(trial: Trial, name: str, signs: Mapping[str, int]) -> float:
    metrics: Any = trial.result.metrics
    if name not in metrics:
        raise UsageError(nearest(name, signs or metrics, kind="metric"))
    return float(metrics[name])


def _signed(trial: Trial, name: str, signs: Mapping[str, int]) -> float:
    if name not in signs:
        raise UsageError(nearest(name, signs, kind="metric"))
    return signs[name] * _metric(trial, name, signs)
