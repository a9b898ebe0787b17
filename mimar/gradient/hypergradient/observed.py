"""A hypergradient that also tells the loss of the gates of this step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.derivatives import Loss
from mimar.core.ranges import validate
from mimar.core.trees import Tensors, detached
from mimar.gradient.hypergradient.parts import Explanation, Hypergradient
from mimar.gradient.hypergradient.tried import demand, trying


@dataclass(frozen=True)
class Observed:
    """Another hypergradient, with the gates of this step and their outer loss as a sample.

    For updates that learn from losses first and from gradients later: `Reduction`. Costs one pass more than the other.
    Raises UsageError for a plain callable.
    """

    inside: Hypergradient
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Tensors:
        return self.explain(outer, inner, weights, alphas, lr=lr).told()

    def explain(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Explanation:
        """Return what the other finds, with the gates and their loss."""
        loss, fixed = demand(outer, self, "under", "gates", "names"), detached(alphas)
        found = self.inside.explain(outer, inner, weights, alphas, lr=lr)
        with torch.no_grad():
            gates = loss.gates(fixed)
            value = loss.under(detached(weights), gates, fixed)
        return trying(found, [(gates, value)], loss, self)

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch."""
        return self.inside.passes + 1.0
