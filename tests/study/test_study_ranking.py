"""Effects, intervals, Holm's correction, and tests that find what is there and nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mimar.core.errors import UsageError
from mimar.study.ranking import against, effect, holm, interval


def test_effect_by_hand() -> None:
    assert effect([1, 2], [0, 0]) == 1.0 and effect([0], [1, 2]) == 0.0
    assert effect([1, 2], [1, 2]) == 0.5 and effect([1, 3], [2, 3]) == (0 + 0 + 1 + 0.5) / 4


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == [] and holm([0.2]) == [0.2]


def test_the_interval_holds_the_effect_and_narrows_with_runs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, 400), rng.normal(0, 1, 400)
    low, high = interval(a, b)
    assert low < effect(a, b) < high
    wide = interval(a[:20], b[:20])
    assert high - low < (wide[1] - wide[0]) / 2
    assert stats.norm.cdf(0.5 / 2**0.5) == pytest.approx((low + high) / 2, abs=0.05)
    assert interval(a, b) == (low, high)


def test_random_against_random_is_rarely_told_apart() -> None:
    rng = np.random.default_rng(1)
    found = [against({"x": rng.random(30)}, rng.random(30))["x"] for _ in range(300)]
    ps = [v.p for v in found]
    assert np.mean([v.effect for v in found]) == pytest.approx(0.5, abs=0.02)
    assert stats.kstest(ps, "uniform").pvalue > 0.01
    assert sum(v.verdict != "no difference shown" for v in found) <= 9


def test_what_is_better_or_worse_is_found_after_correction() -> None:
    rng = np.random.default_rng(2)
    arms = {"up": rng.normal(1, 1, 60), "down": rng.normal(-1, 1, 60), "same": rng.normal(0, 1, 60)}
    found = against(arms, rng.normal(0, 1, 60))
    assert [found[n].verdict for n in arms] == ["better", "worse", "no difference shown"]
    assert all(v.corrected >= v.p for v in found.values())


def test_pairs_see_what_independent_runs_hide() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(0, 5, 40)
    ours = base + 0.5 + rng.normal(0, 0.1, 40)
    assert against({"x": ours}, base)["x"].verdict == "no difference shown"
    assert against({"x": ours}, base, paired=True)["x"].corrected < 0.01
    assert against({"x": base}, base, paired=True)["x"].p == 1.0


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 8 runs of each; x has 7"):
        against({"x": [1.0] * 7}, [1.0] * 9)
    with pytest.raises(UsageError, match="x has 9 runs and its pairs 8"):
        against({"x": [1.0] * 9}, [1.0] * 8, paired=True)
