"""Hypergradients without an implicit term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.derivatives import Loss, gradient
from mimar.core.trees import Tensors, leaves, zeros_like
from mimar.gradient.hypergradient.parts import Explanation, explained


@dataclass(frozen=True)
class FirstOrder:
    """First-order hypergradient: the weights are taken as constants.

        g = ∂L2(w, a)/∂a

    Source: DARTS (Liu, Simonyan, Yang, 2019), section 2.3 with ξ = 0; the empty sum K = −1 of iDARTS.
    Cost: one gradient. On DARTS' toy it converges to α = 2 where the optimum is 1.
    """

    version: ClassVar[int] = 1

    def __call__(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Tensors:
        return self.explain(outer, inner, weights, alphas, lr=lr).told()

    @torch.enable_grad()
    def explain(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Explanation:
        """Return the hypergradient with its shares; there is only the direct one."""
        a = leaves(alphas)
        direct = gradient(outer(tuple(w.detach() for w in weights), a), a)
        return explained("FirstOrder", direct, zeros_like(direct))

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch."""
        return 3.0


@dataclass(frozen=True)
class SingleLevel:
    """Single-level gradient: weights and alphas descend the same training loss.

        g = ∂L1(w, a)/∂a

    The outer loss is not looked at. A search loop takes this gradient from the pass of the weight step itself (`joint`), on
    the same batch; there is one problem then, and the terms of both scopes are on its loss.
    """

    joint: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def __call__(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Tensors:
        return self.explain(outer, inner, weights, alphas, lr=lr).told()

    @torch.enable_grad()
    def explain(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Explanation:
        """Return the gradient with its shares; there is only the direct one."""
        a = leaves(alphas)
        direct = gradient(inner(tuple(w.detach() for w in weights), a), a)
        return explained("SingleLevel", direct, zeros_like(direct))

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch."""
        return 3.0
