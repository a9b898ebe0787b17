"""Problems with known answers: ridge regression as a bilevel problem, and a tiny model with choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimar.core.streams import isolated, stream
from mimar.core.trees import Tensors, flat, unflat
from mimar.space import OneOf, SomeOf


@dataclass(frozen=True)
class Ridge:
    """Ridge regression whose penalties are the alphas; every derivative is known in closed form (float64).

        L1(w, a) = ‖Xw − y‖² / 2n + ½ Σ_i exp(a_i) w_i²       L2(w, a) = ‖X'w − y'‖² / 2n' + ½ κ ‖a‖²
        H = XᵀX/n + diag(exp a),   C = diag(exp(a) ∘ w) = ∂²L1/∂a∂w,   w*(a) = H⁻¹ Xᵀy/n

    Six weights come as tensors of shapes (2, 2) and (2,), six alphas as (4,) and (2,).
    """

    x: Tensor  # (N, 6)
    y: Tensor  # (N,)
    x_outer: Tensor  # (N', 6)
    y_outer: Tensor  # (N',)
    kappa: float = 0.1

    @staticmethod
    def drawn(seed: int = 0, samples: int = 24) -> Ridge:
        """Return the problem number `seed`."""
        rng = stream(seed, "ridge")
        x, x_outer = (torch.randn(samples, 6, generator=rng, dtype=torch.float64) for _ in range(2))
        truth = torch.randn(6, generator=rng, dtype=torch.float64)
        noise = torch.randn(2, samples, generator=rng, dtype=torch.float64)
        return Ridge(x, x @ truth + noise[0], x_outer, x_outer @ truth + noise[1])

    def point(self, seed: int = 0) -> tuple[Tensors, Tensors]:
        """Return weights and alphas at which nothing is stationary."""
        rng = stream(seed, "point")
        w, a = (torch.randn(6, generator=rng, dtype=torch.float64) for _ in range(2))
        return self.weights(w), self.alphas(0.3 * a - 1.0)

    @staticmethod
    def weights(vector: Tensor) -> Tensors:
        """Cut a vector into the tensors of the weights."""
        return unflat(vector, (torch.empty(2, 2), torch.empty(2)))

    @staticmethod
    def alphas(vector: Tensor) -> Tensors:
        """Cut a vector into the tensors of the alphas."""
        return unflat(vector, (torch.empty(4), torch.empty(2)))

    def inner(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """Return L1."""
        w, a = flat(weights), flat(alphas)
        return 0.5 * (self.x @ w - self.y).square().mean() + 0.5 * (a.exp() * w.square()).sum()

    def outer(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """Return L2."""
        w, a = flat(weights), flat(alphas)
        return 0.5 * (self.x_outer @ w - self.y_outer).square().mean() + 0.5 * self.kappa * a.square().sum()

    def hessian(self, a: Tensor) -> Tensor:
        """Return H, (6, 6)."""
        return self.x.T @ self.x / len(self.y) + a.exp().diag()

    def solution(self, a: Tensor) -> Tensor:
        """Return w*(a)."""
        return torch.linalg.solve(self.hessian(a), self.x.T @ self.y / len(self.y))

    def slope(self, w: Tensor, a: Tensor) -> Tensor:
        """Return ∂L1/∂w."""
        return self.hessian(a) @ w - self.x.T @ self.y / len(self.y)

    def outer_slope(self, w: Tensor) -> Tensor:
        """Return ∂L2/∂w."""
        return self.x_outer.T @ (self.x_outer @ w - self.y_outer) / len(self.y_outer)

    def mixed(self, w: Tensor, a: Tensor) -> Tensor:
        """Return C, rows for alphas and columns for weights."""
        return (a.exp() * w).diag()

    def direct(self, a: Tensor) -> Tensor:
        """Return ∂L2/∂a."""
        return self.kappa * a

    def single(self, w: Tensor, a: Tensor) -> Tensor:
        """Return ∂L1/∂a."""
        return 0.5 * a.exp() * w.square()

    def implicit(self, w: Tensor, a: Tensor, damping: float = 0.0) -> Tensor:
        """Return ∂L2/∂a − C (H + ρI)⁻¹ ∂L2/∂w at w: the true hypergradient where w = w*(a) and ρ = 0."""
        h = self.hessian(a) + damping * torch.eye(6, dtype=torch.float64)
        return self.direct(a) - self.mixed(w, a) @ torch.linalg.solve(h, self.outer_slope(w))

    def truncated(self, w: Tensor, a: Tensor, terms: int, step: float, damping: float = 0.0) -> Tensor:
        """Return ∂L2/∂a − γ C Σ_{j=0..K} (I − γ(H + ρI))^j ∂L2/∂w, by powers of the dense matrix."""
        eye = torch.eye(6, dtype=torch.float64)
        factor = eye - step * (self.hessian(a) + damping * eye)
        powers = [torch.linalg.matrix_power(factor, j) for j in range(terms + 1)]
        total = torch.stack(powers).sum(0) if powers else torch.zeros_like(eye)
        return self.direct(a) - step * self.mixed(w, a) @ total @ self.outer_slope(w)

    def unrolled(self, w: Tensor, a: Tensor, steps: int, lr: float) -> Tensor:
        """Return d L2(w_S(a), a)/da after S plain steps, by the forward recursion of dw/da."""
        moved = torch.zeros(6, 6, dtype=torch.float64)  # dw/da, rows for weights
        for _ in range(steps):
            moved = moved - lr * (self.hessian(a) @ moved + self.mixed(w, a).T)
            w = w - lr * self.slope(w, a)
        return self.direct(a) + moved.T @ self.outer_slope(w)


class _Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.body = OneOf({"conv": _conv(1), "wide": _conv(3), "skip": nn.Identity()}, name="body")
        self.node = SomeOf({"0": nn.Identity(), "1": _conv(1), "2": _conv(3)}, k=2, name="node")
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = self.node([y, self.body(y), y])
        logits: Tensor = self.head(y.mean((2, 3)))
        return logits


def _conv(size: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 3, size, padding=size // 2), nn.BatchNorm2d(3, affine=False), nn.Tanh(), nn.Dropout(0.2)
    )


def tiny_model(seed: int = 0) -> nn.Module:
    """Return a smooth float64 model with choices, batch norm and dropout for inputs (B, 1, H, W), four classes."""
    with isolated(seed):
        return _Tower().double()


def tiny_batch(seed: int = 0, size: int = 6) -> tuple[Tensor, Tensor]:
    """Return inputs (B, 1, 5, 5) in float64 and labels (B,) for `tiny_model`."""
    rng = stream(seed, "tiny")
    return torch.randn(size, 1, 5, 5, generator=rng, dtype=torch.float64), torch.randint(4, (size,), generator=rng)
