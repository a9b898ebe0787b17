"""Linear solves with a symmetric operator known only by its products: Neumann series, conjugate gradient; their spectra."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mimar.core.trees import Tensors, add, dot, finite, norm, scale, zeros_like

Product = Callable[[Sequence[Tensor]], Tensors]


class Solve(NamedTuple):
    """An approximate solution s of A s = v, and the norms by which its convergence is judged."""

    solution: Tensors
    norms: tuple[float, ...]  # Neumann: of each summand before scaling; CG: of each residual
    curvature: float | None = None  # CG: the smallest ⟨p, A p⟩ / ⟨p, p⟩ met, negative where A is not positive definite


def neumann(products: Callable[[int], Product], v: Tensors, *, terms: int, step: float) -> Solve:
    """Return s = γ Σ_{j=0..K} (I − γA)^j v with K = `terms` products, A⁻¹ v in the limit for 0 < γ < 2 / λmax.

    `products(j)` is the operator of the j-th factor, so that each may come from a batch of its own. K = −1: s = 0.
    """
    if terms < 0:
        return Solve(zeros_like(v), ())
    u, total, norms = v, v, [norm(v)]
    for j in range(terms):
        u = add(u, products(j)(u), -step)
        total = add(total, u)
        norms.append(norm(u))
    return Solve(scale(total, step), tuple(norms))


def conjugate_gradient(product: Product, v: Tensors, *, iterations: int, tolerance: float = 1e-12) -> Solve:
    """Return the conjugate-gradient approximation of A⁻¹ v after at most `iterations` products.

    Exact after n iterations for a positive definite A of size n. Stops at a direction of non-positive curvature,
    which it reports instead of stepping along it.
    """
    s, r = zeros_like(v), v
    p, rr = r, dot(r, r)
    norms, lowest, start = [float(rr.sqrt())], None, float(rr.sqrt())
    for _ in range(iterations):
        if norms[-1] <= tolerance * start:
            break
        ap = product(p)
        pap = dot(p, ap)
        bend = float(pap / dot(p, p))
        lowest = bend if lowest is None else min(lowest, bend)
        if bend <= 0.0:
            break
        length = rr / pap
        s = tuple(a + length * b for a, b in zip(s, p, strict=True))
        r = tuple(a - length * b for a, b in zip(r, ap, strict=True))
        before, rr = rr, dot(r, r)
        p = tuple(a + (rr / before) * b for a, b in zip(r, p, strict=True))
        norms.append(float(rr.sqrt()))
    return Solve(s, tuple(norms), lowest)


def lanczos(product: Product, like: Sequence[Tensor], *, iterations: int, seed: int = 0) -> tuple[float, float]:
    """Return (largest |Ritz value| θ of a Krylov space of `iterations` products, its residual ‖Ax − θx‖).

    θ never exceeds the largest |eigenvalue|, and is the best estimate that these products allow: exact after n of them
    for a size n. The start is drawn from a generator of its own, so that no other stream moves.
    """
    rng = torch.Generator().manual_seed(seed)
    x = tuple(torch.randn(a.shape, generator=rng, dtype=torch.float64).to(a) for a in like)
    x, before, length = scale(x, 1 / max(norm(x), 1e-300)), zeros_like(x), 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(iterations):
        y = add(product(x), before, -length)
        diagonal.append(float(dot(x, y)))
        y = add(y, x, -diagonal[-1])
        length = norm(y)
        beside.append(length)
        if length <= 1e-6 * max(map(abs, diagonal)):  # the space is invariant: what is left is round-off
            break
        before, x = x, scale(y, 1 / length)
    small = torch.tensor(diagonal, dtype=torch.float64).diag()
    off = torch.tensor(beside[:-1], dtype=torch.float64)
    if not finite((small, off)):
        return math.nan, math.nan
    values, vectors = torch.linalg.eigh(small + off.diag(1) + off.diag(-1))
    best = int(values.abs().argmax())
    return float(values[best].abs()), float(beside[-1] * vectors[-1, best].abs())
