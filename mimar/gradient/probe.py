"""What a search may measure of its losses beside their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mimar.core.derivatives import gradient
from mimar.core.errors import NonFiniteError
from mimar.core.ranges import Count, check
from mimar.core.series import lanczos
from mimar.core.trees import Tensors, filled, leaves

ITERATIONS = 20  # Hessian products


@torch.enable_grad()
def dominant_eigenvalue(
    loss: Callable[[Tensors], Tensor], alphas: Sequence[Tensor], *, iterations: int = ITERATIONS, seed: int = 0
) -> tuple[float, float]:
    """Return (θ, r): the largest |eigenvalue| of ∂²L/∂a∂a at `alphas`, and its residual.

    By Lanczos with `iterations` exact Hessian products: θ is never more than the largest |eigenvalue|, some eigenvalue λ
    has | |λ| − θ | ≤ r, and both are exact (r = 0) after as many products as there are different eigenvalues. The start
    is drawn from `seed`. `loss` is a function of the alphas alone (n tensors of any shapes to a scalar), twice
    differentiable; nothing is written to. Cost: one gradient with graph, and one product an iteration.
    Raises NonFiniteError where a product is not finite. Source: RobustDARTS (Zela et al., ICLR 2020), which builds
    the whole matrix by differences of gradients and adds the rate of the alphas' decay to its diagonal: here it is in
    the loss, as a term.
    """
    check("dominant_eigenvalue: ", "iterations", iterations, Count)
    own = leaves(alphas)
    slope = gradient(loss(own), own, graph=True)
    moving = [i for i, g in enumerate(slope) if g.requires_grad]

    def product(u: Sequence[Tensor]) -> Tensors:
        if not moving:
            return tuple(torch.zeros_like(a) for a in own)
        along = [u[i] for i in moving]
        parts = torch.autograd.grad([slope[i] for i in moving], own, along, retain_graph=True, allow_unused=True)
        return filled(parts, own)

    value, residual = lanczos(product, own, iterations=iterations, seed=seed)
    if not (math.isfinite(value) and math.isfinite(residual)):
        raise NonFiniteError(
            "the curvature of the validation loss in the alphas is not finite; look at the loss itself"
        )
    return value, residual
