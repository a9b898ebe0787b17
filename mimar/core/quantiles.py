"""Numbers by their place among all: what is left of figures when their unit and their outliers must not matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def quantiles(values: Sequence[float] | Array) -> Array:
    """Return the rank of each of N numbers from 0, the least, to 1, the largest, float64; equal ones share their mean rank.

    Equal to (scipy.stats.rankdata(values) − 1) / (N − 1), in a fifth of its time; ½ for a single one. −∞ and ∞ have ranks too.
    """
    given = np.asarray(values, dtype=np.float64)
    if len(given) == 1:
        return np.full(1, 0.5)
    rising = np.sort(given)
    twice = np.searchsorted(rising, given, "left") + np.searchsorted(rising, given, "right") - 1
    found: Array = twice / (2 * len(given) - 2)
    return found
