"""Places among all: the same as SciPy's mean ranks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from mimar.core.quantiles import quantiles


@pytest.mark.parametrize("seed", range(5))
def test_they_are_the_mean_ranks_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 8, 40).astype(float) if seed % 2 else rng.standard_normal(40)
    assert quantiles(values) == pytest.approx((rankdata(values) - 1) / 39, abs=1e-15)


def test_ends_ties_and_infinities() -> None:
    assert quantiles([3.0, 1.0, 2.0]).tolist() == [1.0, 0.0, 0.5]
    assert quantiles([1.0, 1.0]).tolist() == [0.5, 0.5]
    assert quantiles([-np.inf, 0.0, -np.inf, np.inf]).tolist() == pytest.approx([1 / 6, 2 / 3, 1 / 6, 1.0])
    assert quantiles([7.0]).tolist() == [0.5]
    assert quantiles([]).tolist() == []
