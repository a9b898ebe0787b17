"""No gradient: the loss of the gates of this step, for updates that learn from losses alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.derivatives import Loss
from mimar.core.trees import Tensors, detached, zeros_like
from mimar.gradient.hypergradient.parts import Explanation, explained
from mimar.gradient.hypergradient.tried import demand, trying


@dataclass(frozen=True)
class Sampled:
    """Tries the gates of this step and tells their outer loss; its gradients are zeros.

        samples = ((z, L2(w, z)),),    z = gates(a) under the noise of the step

    For updates that want no gradient: `ExponentialWeights`, `LeastSquares`. Raises UsageError for a plain callable.
    Cost: one pass of what the gates run. Source: MANAS (Lopes et al., 2019), the common reward of all agents.
    """

    version: ClassVar[int] = 1

    def __call__(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Tensors:
        return self.explain(outer, inner, weights, alphas, lr=lr).told()

    @torch.no_grad()
    def explain(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Explanation:
        """Return zeros, with the gates and their loss."""
        loss, fixed, zeros = demand(outer, self, "under", "gates", "names"), detached(alphas), zeros_like(alphas)
        gates = loss.gates(fixed)
        value = loss.under(detached(weights), gates, fixed)
        return trying(explained("Sampled", zeros, zeros), [(gates, value)], loss, self)

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch."""
        return 1.0
