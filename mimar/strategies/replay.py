"""A memory of past architectures that a recurrent policy has to be able to repeat, and how well it does.

maximise   weight · mean_{a ∈ sample of the memory} log P(a | h(a)),    h(a) = the LSTM's state after reading a
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Positive, validate
from mimar.space.distance import hamming
from mimar.strategies.policies import Array


@dataclass(frozen=True)
class Replay:
    """The term above, over `batch` of the last `size` architectures that were told, at every step of the policy.

    Its state has to encode the decisions of the past, so that architectures which begin in it resemble that past. Adam
    and Lorraine, "Understanding Neural Architecture Search Techniques", 2019, propose the memory; the form of the term
    is ours.
    """

    weight: Positive = 0.1
    size: Count = 100
    batch: Count = 8
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)


def association(
    states: Array,
    architectures: Sequence[Mapping[str, Any]],
    distance: Callable[[Mapping[str, Any], Mapping[str, Any]], float] = hamming,
) -> float:
    """Return Spearman's ρ between the distances of states and those of architectures, over the pairs (0, 1), (2, 3), ….

    `states` (N, S), Euclidean; pairs share no member, so that they are independent where their members are: with N/2
    pairs, the standard deviation of ρ is 1/√(N/2 − 1) where nothing is associated. 0 where one distance never varies.
    Architectures drawn from states show whether the policy heeds its state; those that were read into states, whether
    the state holds them. Raises UsageError for fewer than three pairs.
    """
    if len(states) != len(architectures) or len(architectures) < 6:
        raise UsageError(f"an association needs as many states as architectures, six or more; got {len(architectures)}")
    from scipy.stats import spearmanr

    x = np.asarray(states, dtype=np.float64)
    last = len(x) - 1
    apart = [float(np.linalg.norm(x[i] - x[i + 1])) for i in range(0, last, 2)]
    unlike = [distance(architectures[i], architectures[i + 1]) for i in range(0, last, 2)]
    if len(set(apart)) == 1 or len(set(unlike)) == 1:
        return 0.0
    return float(spearmanr(apart, unlike).statistic)
