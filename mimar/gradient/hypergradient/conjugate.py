"""The implicit hypergradient with the inverse Hessian applied by conjugate gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from mimar.core.derivatives import Loss
from mimar.core.ranges import Range, validate
from mimar.core.series import conjugate_gradient
from mimar.core.trees import Tensors, scale
from mimar.gradient.hypergradient.parts import Explanation, Factors, explained, implicit_passes, outer_slopes


@dataclass(frozen=True)
class ConjugateGradient:
    """Implicit hypergradient, (H + ρI)⁻¹ applied by at most `iterations` conjugate-gradient steps.

        g = ∂L2/∂a − (∂²L1/∂a∂w) (H + ρI)⁻¹ ∂L2/∂w

    Exact in n iterations for n weights and a positive definite H + ρI. A direction of non-positive curvature ends
    the solve and is named in a DivergenceWarning, since the solution along it would be meaningless: raise `damping`.
    Cost: one outer gradient, one inner gradient, `iterations` + 1 products.
    Source: Pedregosa (2016), Rajeswaran et al. (2019). One training batch in all factors.
    """

    iterations: Annotated[int, Range(1, 100_000)] = 10
    damping: Annotated[float, Range(0.0, None)] = 0.0
    curvature: Literal["hessian", "gauss-newton"] = "hessian"
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
        """Return the hypergradient with its shares and the norm of every residual."""
        v, direct = outer_slopes(outer, weights, alphas)
        factors = Factors(inner, weights, alphas, damping=self.damping, curvature=self.curvature)
        solve = conjugate_gradient(factors.product(0), v, iterations=self.iterations)
        implicit = scale(factors.mixed(0, solve.solution), -1.0)
        warning = None
        if solve.curvature is not None and solve.curvature <= 0.0:
            warning = (
                f"ConjugateGradient met curvature {solve.curvature:.3g} after {len(solve.norms)} steps: "
                f"H + {self.damping:g} I is not positive definite; raise damping above {self.damping - solve.curvature:.3g}"
            )
        return explained("ConjugateGradient", direct, implicit, norms=solve.norms, warning=warning)

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch."""
        return 3.0 + implicit_passes(self.iterations, gauss_newton=self.curvature == "gauss-newton")
