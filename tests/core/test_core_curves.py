"""Curves of the learning rate against their formula and their limits."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from mimar.core.curves import Cosine, CosinePower
from mimar.core.errors import UsageError
from mimar.core.optimisers import cosine, cosine_power

STEPS = [i / 40 for i in range(41)]


@pytest.mark.parametrize("power", [1.5, 2.0, 10.0, 100.0])
def test_cosine_power_is_its_formula(power: float) -> None:
    for t in STEPS:
        c = 0.5 * (1 + math.cos(math.pi * t))
        wanted = 1e-4 + (0.025 - 1e-4) * (power ** (c + 1) - power) / (power**2 - power)
        assert cosine_power(t, 0.025, 1e-4, power) == pytest.approx(wanted, rel=1e-12)


def test_by_hand_in_the_middle() -> None:
    # c = ½: (2^1.5 − 2) / 2 = √2 − 1
    assert cosine_power(0.5, 1.0, 0.0, 2.0) == pytest.approx(math.sqrt(2) - 1, rel=1e-14)
    assert cosine_power(0.5, 5.0, 1.0, 4.0) == pytest.approx(1 + 4 * (8 - 4) / 12, rel=1e-14)


@pytest.mark.parametrize("power", [1.0, 1 + 1e-12, 1.5, 2.0, 10.0, 1e6])
def test_ends_are_exact_and_the_curve_falls(power: float) -> None:
    for top, floor in ((0.025, 1e-3), (0.1, 1e-8), (0.3, 0.1), (0.025, 0.0)):
        rates = [cosine_power(t, top, floor, power) for t in STEPS]
        assert rates[0] == top and rates[-1] == floor
        assert all(a > b for a, b in pairwise(rates))
        assert cosine_power(-1.0, top, floor, power) == top and cosine_power(2.0, top, floor, power) == floor


def test_near_one_it_is_the_cosine() -> None:
    for t in STEPS:
        plain = cosine(t, 0.025, 1e-3)
        assert (
            cosine_power(t, 0.025, 1e-3, 1.0) == plain == Cosine()(t, 0.025, 1e-3) == CosinePower(1.0)(t, 0.025, 1e-3)
        )
        for power in (1 + 1e-6, 1 + 1e-9, 1 + 1e-13):
            assert abs(cosine_power(t, 0.025, 1e-3, power) - plain) < 1e-7
        assert abs(cosine_power(t, 1.0, 0.0, 1 + 1e-13) - cosine(t, 1.0)) < 1e-12  # no cancellation


def test_larger_powers_fall_earlier() -> None:
    for t in STEPS[1:-1]:
        rates = [cosine_power(t, 1.0, 0.0, power) for power in (1.0, 2.0, 10.0)]
        assert rates[0] > rates[1] > rates[2]


def test_warmup_is_a_line_and_the_curve_has_the_rest() -> None:
    curve = CosinePower(power=2.0, warmup=0.2)
    assert [curve(t, 1.0, 0.5) for t in (0.0, 0.1, 0.2, 1.0)] == [0.5, 0.75, 1.0, 0.5]
    assert curve(0.6, 1.0, 0.0) == pytest.approx(math.sqrt(2) - 1)  # halfway between 0.2 and 1
    assert [CosinePower(warmup=1.0)(t, 1.0) for t in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]
    assert [CosinePower()(t, 0.3, 0.1) for t in (0.0, 1.0)] == [0.3, 0.1]
    # as the release: 5 epochs of 120, the rates of epochs counted from 1
    five = CosinePower(2.0, warmup=5 / 120)
    assert [five(e / 120, 0.2, 1e-4) for e in range(1, 6)] == pytest.approx(
        [1e-4 + 0.1999 * e / 5 for e in range(1, 6)]
    )


def test_wrong_options() -> None:
    with pytest.raises(UsageError, match="CosinePower.power is 0.5; it must be a number at least 1"):
        CosinePower(0.5)
    with pytest.raises(UsageError, match="CosinePower.warmup is 1.5"):
        CosinePower(warmup=1.5)
