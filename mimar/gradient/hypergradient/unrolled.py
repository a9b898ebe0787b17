"""The hypergradient of DARTS' second order: differentiate through a few plain gradient steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from mimar.core.derivatives import Curvature, Loss, gradient, mixed_difference
from mimar.core.errors import UsageError
from mimar.core.ranges import Range, validate
from mimar.core.trees import Tensors, add, detached, leaves, zeros_like
from mimar.gradient.hypergradient.parts import Explanation, explained, outer_slopes


@dataclass(frozen=True)
class Unrolled:
    """Hypergradient of L2 after `steps` plain gradient steps on L1, seen as a function of the alphas.

        w_{t+1} = w_t − ξ ∇_w L1(w_t, a),   g = d L2(w_S(a), a) / da,   ξ = `lr`
        S = 1:  g = ∂L2(w', a)/∂a − ξ (∂²L1(w, a)/∂a∂w) ∇_w' L2(w', a)

    The reverse recursion keeps the S weight vectors and one gradient graph at a time, never the graph of the whole
    trajectory. `mixed`: "exact" product, or the paper's central "difference" (S = 1 only), ε = 0.01/‖v‖.
    Source: DARTS (Liu, Simonyan, Yang, 2019), equations 7 and 8. Differs: momentum and clipping of the real optimiser
    are not part of the unrolled step (the released code has momentum in w' but not in the implicit term).
    """

    steps: Annotated[int, Range(1, 1000)] = 1
    mixed: Literal["exact", "difference"] = "exact"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)
        if self.mixed == "difference" and self.steps != 1:
            raise UsageError(f'Unrolled.mixed="difference" is defined for steps=1 only; got steps={self.steps}')

    def __call__(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Tensors:
        return self.explain(outer, inner, weights, alphas, lr=lr).told()

    @torch.enable_grad()
    def explain(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Explanation:
        """Return the hypergradient with its shares: direct = ∂L2/∂a at the look-ahead point."""
        path = [detached(weights)]
        for _ in range(self.steps):
            w = leaves(path[-1])
            path.append(add(path[-1], gradient(inner(w, detached(alphas)), w), -lr))
        v, direct = outer_slopes(outer, path.pop(), alphas)
        implicit = zeros_like(direct)
        for t in reversed(range(self.steps)):
            if self.mixed == "difference":
                implicit = add(implicit, mixed_difference(inner, path[t], alphas, v), -lr)
                continue
            bend = Curvature(inner, path[t], alphas)
            implicit = add(implicit, bend.mixed(v), -lr)
            if t:
                v = add(v, bend.hessian(v), -lr)
        return explained("Unrolled", direct, implicit, step=lr)

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch."""
        mixed = 6.0 if self.mixed == "difference" else 7.0
        return 3.0 * self.steps + 3.0 + mixed * self.steps + 4.0 * (self.steps - 1)
