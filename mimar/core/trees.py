"""Arithmetic on tuples of tensors ("vectors" whose entries have shapes)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]


def add(x: Sequence[Tensor], y: Sequence[Tensor], scale: float = 1.0) -> Tensors:
    """Return x + scale · y."""
    return tuple(torch._foreach_add(list(x), list(y), alpha=scale)) if x else ()


def scale(x: Sequence[Tensor], factor: float) -> Tensors:
    """Return factor · x."""
    return tuple(torch._foreach_mul(list(x), factor)) if x else ()


def dot(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    """Return the inner product Σ x·y, a scalar tensor."""
    if not x:
        return torch.zeros(())
    return torch.stack([(a * b).sum() for a, b in zip(x, y, strict=True)]).sum()


def norm(x: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all entries together."""
    if not x:
        return 0.0
    return float(torch.stack(torch._foreach_norm([a.detach() for a in x])).norm())


def square(x: Sequence[Tensor]) -> Tensor:
    """Return Σ x², a scalar tensor, whose derivatives go entry by entry: no vector of all of them is ever made."""
    return _Square.apply(*x) if x else torch.zeros(())


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *x: Tensor) -> Tensor:
        ctx.save_for_backward(*x)
        return torch.stack(torch._foreach_norm(x)).square().sum()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensors:
        twice = 2 * g
        if torch.is_grad_enabled():  # torch's own derivative of the call below fails
            return tuple(twice * a for a in ctx.saved_tensors)
        return tuple(torch._foreach_mul(ctx.saved_tensors, twice))


def zeros_like(x: Sequence[Tensor]) -> Tensors:
    """Return zeros of the same shapes."""
    return tuple(torch.zeros_like(a) for a in x)


def filled(x: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensors:
    """Replace None (an unused tensor) by zeros of the right shape."""
    return tuple(torch.zeros_like(b) if a is None else a for a, b in zip(x, like, strict=True))


def detached(x: Iterable[Tensor]) -> Tensors:
    """Return views that share storage but require no gradient."""
    return tuple(a.detach() for a in x)


def leaves(x: Iterable[Tensor]) -> Tensors:
    """Return detached views that require gradients: fresh leaves over the same storage."""
    return tuple(a.detach().requires_grad_(a.is_floating_point()) for a in x)


def finite(x: Iterable[Tensor]) -> bool:
    """Tell whether every entry is finite."""
    return all(bool(torch.isfinite(a).all()) for a in x)


def flat(x: Sequence[Tensor]) -> Tensor:
    """Return all entries as one vector."""
    return torch.cat([a.reshape(-1) for a in x]) if x else torch.zeros(0)


def unflat(vector: Tensor, like: Sequence[Tensor]) -> Tensors:
    """Cut one vector into the shapes of `like`."""
    parts = vector.split([a.numel() for a in like])
    return tuple(p.view_as(a) for p, a in zip(parts, like, strict=True))
