"""The comparison against random search: the test, the effect, what could have been seen."""

from __future__ import annotations

import pytest

from mimar.core.errors import UsageError
from mimar.study.statistics import compare


def test_clearly_better() -> None:
    ours, theirs = [0.9 + 0.001 * i for i in range(8)], [0.8 + 0.001 * i for i in range(8)]
    found = compare(ours, theirs)
    assert found.verdict == "better"
    assert found.p == pytest.approx(2 / 12870)  # 2 / C(16, 8): the exact two-sided rank test of disjoint samples
    assert found.effect == 1.0
    assert found.difference == pytest.approx(0.1)
    assert compare(theirs, ours).verdict == "worse"


def test_the_same_figures_show_nothing() -> None:
    values = [0.1, 0.5, 0.3, 0.7, 0.2, 0.9, 0.4, 0.6]
    found = compare(values, values[::-1])
    assert found.verdict == "no difference shown"
    assert found.effect == 0.5
    assert found.difference == 0


def test_detectable_difference() -> None:
    values = [0.0, 1.0] * 4  # standard deviation 0.5345
    # (1.96 + 0.8416) · 0.5345 · √(2 / 8)
    assert compare(values, values).detectable == pytest.approx(0.74877, abs=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [([1.0] * 7, [1.0] * 7), ([1.0] * 9, [1.0] * 8)])
def test_too_few_seeds(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(UsageError, match="at least 8 seeds"):
        compare(ours, theirs)
