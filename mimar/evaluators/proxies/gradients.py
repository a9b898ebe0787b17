"""Scores from the gradient of the loss on one batch: g = ∂L/∂W for each weight W.

grad_norm Σ_W ‖g‖₂;   snip Σ|W ⊙ g|;   plain ΣW ⊙ g;   grasp Σ −W ⊙ (H g), H the Hessian of L

Source: Abdelfattah, Mehrotra, Dudziak and Lane, "Zero-Cost Proxies for Lightweight NAS", 2021, and what it takes them from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from mimar.evaluators.proxies.parts import Direction, loss, private, slopes, weights
from mimar.tasks.protocol import Batch


@dataclass(frozen=True)
class GradientNorm:
    """Σ over the weights of the 2-norm of ∂L/∂W."""

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score."""
        return sum(float(g.double().norm()) for _, g in _pairs(net, batch, seed))

    def passes(self, size: int) -> float:
        """Return 3 a sample."""
        return 3.0 * size


@dataclass(frozen=True)
class ConnectionSensitivity:
    """Σ |W ⊙ ∂L/∂W|: how much the loss would change if connections were cut, to first order.

    The same as the gradient of a mask of ones. Source: Lee, Ajanthan and Torr, "SNIP", 2019.
    """

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score."""
        return sum(float((w * g).double().abs().sum()) for w, g in _pairs(net, batch, seed))

    def passes(self, size: int) -> float:
        """Return 3 a sample."""
        return 3.0 * size


@dataclass(frozen=True)
class SignedSensitivity:
    """Σ W ⊙ ∂L/∂W, signs and all."""

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score."""
        return sum(float((w * g).double().sum()) for w, g in _pairs(net, batch, seed))

    def passes(self, size: int) -> float:
        """Return 3 a sample."""
        return 3.0 * size


@dataclass(frozen=True)
class GradientFlow:
    """Σ −W ⊙ (H g): how much the gradient's norm would change if connections were cut, to first order.

    H g is the gradient of g · g', g' held fixed. Source: Wang, Zhang and Grosse, "GraSP", 2020, in the sign in which
    larger is better.
    """

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score."""
        with private(net, seed) as double:
            held = list(weights(double).values())
            found = slopes(loss(double(batch.x), batch.y), held, create_graph=True)
            product = sum((g * g.detach()).sum() for g in found)
            if not isinstance(product, Tensor) or not product.requires_grad:
                return 0.0  # a loss that is linear in the weights
            curved = slopes(product, held)
        return sum(-float((w.detach() * h).double().sum()) for w, h in zip(held, curved, strict=True))

    def passes(self, size: int) -> float:
        """Return 9 a sample: a gradient, and one of its product with itself on its graph."""
        return 9.0 * size


def _pairs(net: nn.Module, batch: Batch, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return (W, ∂L/∂W) of all weights."""
    with private(net, seed) as double:
        held = list(weights(double).values())
        found = slopes(loss(double(batch.x), batch.y), held)
    return [(w.detach(), g) for w, g in zip(held, found, strict=True)]
