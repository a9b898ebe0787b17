"""The gradient of two halves of the data, each with its own copy of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.derivatives import Loss, gradient
from mimar.core.ranges import NonNegative, validate
from mimar.core.trees import Tensors, add, detached, leaves, zeros_like
from mimar.gradient.hypergradient.parts import Explanation, explained
from mimar.gradient.hypergradient.tried import demand


@dataclass(frozen=True)
class Relaxed:
    """First-order gradient of the outer loss at the second copy y of the weights, and of the inner loss at the first.

        g = λ ∂L1(w, a)/∂a + ∂L2(y, a)/∂a,    λ = `rate`, y = the outer loss's `twin`

    Both copies are taken as constants; the search ties them by β ‖y − w‖² / 2. On DARTS' toy the three descents come to
    rest at α = 2 / (2 − 1/(2λ) − 1/β), which goes to the optimum 1 as λ, β → ∞.
    Cost: two gradients. Raises UsageError where the search has no second copy.
    Source: RARTS (Xue, Qi, Xin, 2020), as recalled: λ = 10.
    """

    rate: NonNegative = 10.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Tensors:
        return self.explain(outer, inner, weights, alphas, lr=lr).told()

    @torch.enable_grad()
    def explain(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Explanation:
        """Return the gradient; all of it is direct."""
        twin = demand(outer, self, "twin").twin
        a, b = leaves(alphas), leaves(alphas)
        theirs = gradient(outer(detached(twin), a), a)
        ours = gradient(inner(detached(weights), b), b)
        direct = add(theirs, ours, self.rate)
        return explained("Relaxed", direct, zeros_like(direct))

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch."""
        return 6.0
