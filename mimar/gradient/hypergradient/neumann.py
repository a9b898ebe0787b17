"""iDARTS: the implicit hypergradient with the inverse Hessian replaced by a truncated Neumann series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from mimar.core.derivatives import Loss
from mimar.core.ranges import Range, validate
from mimar.core.series import lanczos, neumann
from mimar.core.trees import Tensors, scale, zeros_like
from mimar.gradient.hypergradient.parts import Explanation, Factors, explained, implicit_passes, outer_slopes

PRODUCTS = 10  # Hessian products that step="auto" spends
GROWTH = 1.1  # a last summand this much longer than the first is divergence, not round-off


@dataclass(frozen=True)
class Neumann:
    """Implicit hypergradient, inverse Hessian by a truncated Neumann series.

        g_K = ∂L2/∂a − γ (∂²L1/∂a∂w) Σ_{j=0..K} (I − γA)^j ∂L2/∂w,    A = H + ρI,  H = ∂²L1/∂w∂w

    with K = `terms` Hessian products (K + 1 summands; −1 is first order), γ = `step`, ρ = `damping`, all at the given
    weights. On a quadratic with γ ≤ 1/λmax(A): relative error of the series at most (1 − γ λmin)^(K+1).

    `step`: "lr" is the weights' learning rate (faithful to the paper's code); "auto" is 1 / (1.1 θ + r), θ and r the
    largest Ritz value of 10 products and its residual, which keeps below 1/λmax unless a single eigenvalue stands apart
    from tens of thousands of others; or a number. `batches`: "shared" uses one
    training batch in every factor (paper and code), whose average over batches is biased for K ≥ 1; "fresh" draws one
    per factor, the mixed product included, and is unbiased. `curvature`: "hessian", or "gauss-newton", which cannot be
    negative. `mixed`: "exact", or the central "difference" of the released code.
    Cost: one outer gradient, one inner gradient, K + 1 products; memory does not depend on the inner steps before it.
    Source: iDARTS (Zhang et al., ICML 2021), equations 8 to 10 and algorithm 1. Differs from the released code: the
    weights are never moved (there a probe is undone along the wrong vector), and L1 includes weight decay.
    """

    terms: Annotated[int, Range(-1, 10_000)] = 2
    step: Literal["lr", "auto"] | Annotated[float, Range(0.0, None, open_low=True)] = "lr"
    batches: Literal["shared", "fresh"] = "shared"
    damping: Annotated[float, Range(0.0, None)] = 0.0
    curvature: Literal["hessian", "gauss-newton"] = "hessian"
    mixed: Literal["exact", "difference"] = "exact"
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
        """Return the hypergradient with its shares and the norm of every summand."""
        v, direct = outer_slopes(outer, weights, alphas)
        if self.terms < 0:
            return explained("Neumann", direct, zeros_like(direct))
        factors = Factors(inner, weights, alphas, batches=self.batches, damping=self.damping, curvature=self.curvature)
        step = self._step(factors, lr)
        sum_ = neumann(factors.product, v, terms=self.terms, step=step)
        implicit = scale(factors.mixed(self.terms, sum_.solution, self.mixed), -1.0)
        return explained("Neumann", direct, implicit, norms=sum_.norms, step=step, warning=_growing(sum_.norms, step))

    def _step(self, factors: Factors, lr: float) -> float:
        if self.step == "lr":
            return lr
        if self.step != "auto":
            return float(self.step)
        estimate, residual = lanczos(factors.product(0), factors.weights, iterations=PRODUCTS)
        return 1.0 / (1.1 * estimate + residual) if estimate > 0 else lr

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch."""
        if self.terms < 0:
            return 3.0
        auto, gauss = self.step == "auto", self.curvature == "gauss-newton"
        return 3.0 + implicit_passes(
            self.terms + PRODUCTS * auto,
            fresh=self.terms + auto if self.batches == "fresh" else 0,
            gauss_newton=gauss,
            difference=self.mixed == "difference",
        )


def _growing(norms: tuple[float, ...], step: float) -> str | None:
    if len(norms) < 2 or norms[0] == 0.0 or norms[-1] <= GROWTH * norms[0]:
        return None
    return (
        f"the Neumann series grows: its last of {len(norms)} summands is {norms[-1] / norms[0]:.3g} times its first "
        f"(step {step:.3g}); the Hessian has negative curvature or the step exceeds 2/λmax: add damping, use "
        'step="auto" or curvature="gauss-newton", or take fewer terms'
    )
