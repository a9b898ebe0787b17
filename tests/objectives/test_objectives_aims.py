"""Objectives and limits: the numbers that their formulas state, and one sentence for every mistake."""

from __future__ import annotations

import math

import pytest

from mimar.core.errors import UsageError
from mimar.objectives import (
    AbsoluteReward,
    Best,
    Limit,
    Potential,
    Power,
    Tangent,
    Vector,
    WeightedProduct,
    aim,
    limit,
)
from mimar.space import Architecture, Measurement, Proposal, Trial

SIGNS = {"valid_accuracy": 1, "latency": -1, "params": -1}


def trial(accuracy: float = 0.8, latency: float = 2.0, name: str = "a", status: str = "ok") -> Trial:
    metrics = {"valid_accuracy": accuracy, "latency": latency, "params": 10.0}
    return Trial(Proposal(Architecture({"c": name})), Measurement(metrics, status=status))  # type: ignore[arg-type]


def test_one_metric_by_its_direction() -> None:
    assert Best().values(trial(), SIGNS, ()) == (0.8,)
    assert Best("latency").values(trial(), SIGNS, ()) == (-2.0,)
    assert Vector(("valid_accuracy", "latency")).values(trial(), SIGNS, ()) == (0.8, -2.0)


def test_a_doubled_cost_pays_for_five_percent() -> None:
    part = WeightedProduct("latency", 2.0)
    at, twice = (part.values(trial(0.8, cost), SIGNS, ())[0] for cost in (2.0, 4.0))
    assert at == 0.8
    assert twice / at == pytest.approx(2**-0.07, abs=1e-15)
    assert 2**-0.07 == pytest.approx(0.953, abs=1e-3)


def test_the_hard_form_is_flat_below_the_target() -> None:
    part = WeightedProduct("latency", 2.0, below=0.0, above=-1.0)
    assert {part.values(trial(0.8, cost), SIGNS, ())[0] for cost in (0.1, 1.0, 2.0)} == {0.8}
    assert part.values(trial(0.8, 4.0), SIGNS, ()) == (0.4,)


def test_the_absolute_reward_is_best_at_its_target() -> None:
    part = AbsoluteReward("latency", 2.0, beta=0.5)
    assert part.values(trial(0.8, 2.0), SIGNS, ()) == (0.8,)
    assert part.values(trial(0.8, 3.0), SIGNS, ()) == part.values(trial(0.8, 1.0), SIGNS, ()) == (0.8 - 0.25,)


def test_rewards_are_stretched_near_the_top() -> None:
    assert Power(3.0).values(trial(0.5), SIGNS, ()) == (0.125,)
    assert Power(2.0, "latency").values(trial(), SIGNS, ()) == (-4.0,)
    assert Tangent().values(trial(0.5), SIGNS, ())[0] == pytest.approx(1.0)
    steps = [
        Tangent().values(trial(a + 0.01), SIGNS, ())[0] - Tangent().values(trial(a), SIGNS, ())[0] for a in (0.8, 0.9)
    ]
    assert steps[1] > steps[0]
    assert math.isfinite(Tangent().values(trial(1.0), SIGNS, ())[0])


def test_potential_is_the_slope_of_a_line() -> None:
    past = [trial(0.1 + 0.05 * i) for i in range(4)]
    value, slope = Potential().values(trial(0.3), SIGNS, past)
    assert value == 0.3 and slope == pytest.approx(0.05, abs=1e-15)
    assert Potential().values(trial(0.3, name="new"), SIGNS, past) == (0.3, 0.0)
    assert Potential().values(trial(0.15), SIGNS, [past[0], trial(0.9, status="failed")])[1] == pytest.approx(0.05)


def test_objectives_by_name() -> None:
    assert aim(()) == aim(None) == Best()
    assert aim("latency") == aim(("latency",)) == Best("latency")
    assert aim("valid_accuracy, latency") == Vector(("valid_accuracy", "latency"))
    assert aim(Tangent()) == Tangent()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Vector(("latency",)), "two or more different metrics"),
        (lambda: Vector(("latency", "latency")), "two or more different metrics"),
        (lambda: Best("latencies").values(trial(), SIGNS, ()), "did you mean 'latency'"),
        (lambda: WeightedProduct("latency", 0.0), "must be a number above 0"),
        (lambda: WeightedProduct("params", 1.0, metric="latency").values(trial(), SIGNS, ()), "is to be minimised"),
        (lambda: aim(3), "not 3"),  # type: ignore[arg-type]
    ],
)
def test_wrong_objectives_have_a_sentence(make: object, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        make()  # type: ignore[operator]


def test_limits_hold_at_their_bounds_and_not_for_nan() -> None:
    both = Limit("latency", most=2.0, least=1.0)
    assert [both.feasible({"latency": c}) for c in (0.9, 1.0, 2.0, 2.1, math.nan)] == [False, True, True, False, False]
    assert limit("params<=5e5") == Limit("params", most=5e5) and limit(" params >= 3 ") == Limit("params", least=3.0)
    assert limit(both) is both
    assert [str(limit(w)) for w in ("params<=500000", "macs>=2")] == ["params<=500000", "macs>=2"]


@pytest.mark.parametrize("words", ["params", "params<5", "params<=", "params<=x", "params<=nan", "<=5", "params<=inf"])
def test_wrong_limits_have_a_sentence(words: str) -> None:
    with pytest.raises(UsageError, match="limit"):
        limit(words)
    with pytest.raises(UsageError, match="did you mean 'params'"):
        Limit("param", most=1.0).feasible({"params": 1.0})
    with pytest.raises(UsageError, match="at least 3 and at most 2"):
        Limit("params", most=2.0, least=3.0)
