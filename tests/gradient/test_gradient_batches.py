"""Fresh and shared batches, the Gauss–Newton product, and the mixed product by differences."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar.core.derivatives import Curvature, gauss_newton, gradient, mixed_difference
from mimar.core.errors import UsageError
from mimar.core.streams import isolated, stream
from mimar.core.trees import Tensors, flat, norm, scale
from mimar.gradient.hypergradient import ConjugateGradient, Neumann, Unrolled
from mimar.space import OneOf
from mimar.supernet import Supernet

F64 = torch.float64


# --- batches --------------------------------------------------------------------------------------------------------


@dataclass
class Sampled:
    """An inner loss that is one of several quadratics ½ wᵀA_i w + aᵀB_i w; `order` says which is the j-th fresh one."""

    many: list[tuple[Tensor, Tensor]]
    order: tuple[int, ...]
    asked: list[int]

    def __call__(self, w: Tensors, a: Tensors) -> Tensor:
        bend, mixed = self.many[self.order[0]]
        return 0.5 * w[0] @ bend @ w[0] + a[0] @ mixed @ w[0]

    def fresh(self, j: int) -> Sampled:
        self.asked.append(j)
        return Sampled(self.many, (self.order[j],), self.asked)


def batches() -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """Return the (A_i, B_i) of two training batches, and (v, d) of two validation batches with L2 = v·w + d·a."""
    rng = stream(0, "batches")

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=F64)

    inner = [(x @ x.T / 4, draw(3, 4)) for x in (draw(4, 6), draw(4, 6))]
    return inner, [(draw(4), draw(3)) for _ in range(2)]


def averaged(terms: int, mode: str) -> tuple[Tensor, Tensor]:
    """Return the hypergradient averaged over all tuples of batches, and the full-batch one from dense matrices."""
    many, outers = batches()
    w, a, step = (torch.ones(4, dtype=F64),), (torch.ones(3, dtype=F64),), 0.2
    part = Neumann(terms, step=step, batches=mode)  # type: ignore[arg-type]
    draws = max(terms + 1, 1) if mode == "fresh" else 1
    found = []
    for order in product(range(2), repeat=draws):
        for v, d in outers:
            inner: Any = Sampled(many, order, [])
            found.append(part(lambda w, a, v=v, d=d: v @ w[0] + d @ a[0], inner, w, a, lr=9.0)[0])
            if mode == "fresh" and terms >= 0:
                assert sorted(set(inner.asked)) == list(range(terms + 1))  # one batch a factor, the mixed one included
    bend, mixed = (torch.stack([m[i] for m in many]).mean(0) for i in range(2))
    v, d = (torch.stack([m[i] for m in outers]).mean(0) for i in range(2))
    factor = torch.eye(4, dtype=F64) - step * bend
    total = sum((torch.linalg.matrix_power(factor, j) for j in range(terms + 1)), torch.zeros(4, 4, dtype=F64))
    return torch.stack(found).mean(0), d - step * mixed @ total @ v


@pytest.mark.parametrize("terms", range(-1, 5))
def test_fresh_batches_are_unbiased_for_every_number_of_terms(terms: int) -> None:
    found, wanted = averaged(terms, "fresh")
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("terms", range(-1, 5))
def test_a_shared_batch_is_unbiased_up_to_no_product_only(terms: int) -> None:
    found, wanted = averaged(terms, "shared")
    error = float((found - wanted).norm() / wanted.norm())
    assert error < 1e-12 if terms <= 0 else error > 1e-3


def test_fresh_needs_a_loss_that_can_draw() -> None:
    w, a = (torch.ones(2),), (torch.ones(1),)
    with pytest.raises(UsageError, match=r'batches="fresh" needs a loss with .fresh\(j\)'):
        Neumann(batches="fresh")(lambda w, a: w[0].sum(), lambda w, a: w[0].square().sum(), w, a, lr=0.1)


# --- the Gauss–Newton product ---------------------------------------------------------------------------------------

DECAY = 0.05


class Perceptron:
    """Cross entropy of tanh(x W₁ · a) W₂ plus weight decay, split into outputs, loss and rest."""

    def __init__(self, seed: int) -> None:
        rng = stream(seed, "perceptron")
        self.x = torch.randn(9, 3, generator=rng, dtype=F64)
        self.y = torch.randint(3, (9,), generator=rng)
        self.weights = tuple(torch.randn(s, generator=rng, dtype=F64) for s in ((3, 4), (4, 3), (2,)))
        self.alphas = (torch.randn(4, generator=rng, dtype=F64),)

    def outputs(self, w: Tensors, a: Tensors) -> Tensor:
        return torch.tanh(self.x @ w[0] * a[0]) @ w[1]  # the last weight is not used

    def split(self, w: Tensors, a: Tensors) -> tuple[Tensors, Tensor, Tensor]:
        z = self.outputs(w, a)
        return (z,), nn.functional.cross_entropy(z, self.y), 0.5 * DECAY * flat(w).square().sum()

    def __call__(self, w: Tensors, a: Tensors) -> Tensor:
        _, loss, rest = self.split(w, a)
        return loss + rest

    def dense(self) -> Tensor:
        """Return JᵀSJ + decay · I by loops over outputs."""
        w = tuple(t.clone().requires_grad_() for t in self.weights)
        z = self.outputs(w, self.alphas)
        rows = [torch.autograd.grad(e, w, retain_graph=True, allow_unused=True) for e in z.reshape(-1)]
        j = torch.stack(
            [flat([torch.zeros_like(t) if g is None else g for g, t in zip(row, w, strict=True)]) for row in rows]
        )
        p = torch.softmax(z.detach(), 1)
        s = torch.block_diag(*(q.diag() - q.outer(q) for q in p)) / len(self.y)
        return j.T @ s @ j + DECAY * torch.eye(j.shape[1], dtype=F64)


@pytest.mark.parametrize("seed", range(4))
def test_gauss_newton_is_the_dense_product_and_never_negative(seed: int) -> None:
    loss = Perceptron(seed)
    apply, dense = gauss_newton(loss.split, loss.weights, loss.alphas), loss.dense()
    indefinite = Curvature(loss, loss.weights, loss.alphas)
    n, lowest = len(dense), 0.0
    for i in range(30):
        vector = torch.randn(n, generator=stream(i, "u"), dtype=F64)
        u = tuple(
            p.view_as(t) for p, t in zip(vector.split([t.numel() for t in loss.weights]), loss.weights, strict=True)
        )
        torch.testing.assert_close(flat(apply(u)), dense @ vector, rtol=1e-10, atol=1e-12)
        assert vector @ flat(apply(u)) > 0.99 * DECAY * vector @ vector
    eye = torch.eye(n, dtype=F64)
    for row in eye:
        u = tuple(p.view_as(t) for p, t in zip(row.split([t.numel() for t in loss.weights]), loss.weights, strict=True))
        lowest = min(lowest, float(row @ flat(indefinite.hessian(u))))
    full = torch.stack(
        [
            flat(
                indefinite.hessian(tuple(p.view_as(t) for p, t in zip(r.split([12, 12, 2]), loss.weights, strict=True)))
            )
            for r in eye
        ]
    )
    assert torch.linalg.eigvalsh(full)[0] < 0 < torch.linalg.eigvalsh(dense)[0]  # what it is there for


def test_parts_use_the_gauss_newton_product() -> None:
    loss, dense = Perceptron(0), Perceptron(0).dense()
    v = torch.linspace(-1, 1, len(dense), dtype=F64)

    def outer(w: Tensors, a: Tensors) -> Tensor:
        return v @ flat(w)

    solved = torch.linalg.solve(dense + 0.1 * torch.eye(len(dense), dtype=F64), v)
    u = tuple(p.view_as(t) for p, t in zip(solved.split([12, 12, 2]), loss.weights, strict=True))
    wanted = -Curvature(loss, loss.weights, loss.alphas).mixed(u)[0]
    for part in (
        Neumann(600, step="auto", damping=0.1, curvature="gauss-newton"),
        ConjugateGradient(40, damping=0.1, curvature="gauss-newton"),
    ):
        found = part(outer, loss, loss.weights, loss.alphas, lr=0.1)[0]
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)
    with pytest.raises(UsageError, match="gauss-newton"):
        ConjugateGradient(curvature="gauss-newton")(outer, outer, loss.weights, loss.alphas, lr=0.1)


# --- the mixed product ----------------------------------------------------------------------------------------------


def convolutions(seed: int, activation: type[nn.Module]) -> tuple[Any, Tensors, Tensors]:
    """Return the loss of a supernet with three convolutions to choose from, its weights and one alpha."""

    def conv(size: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(2, 2, size, padding=size // 2), activation())

    with isolated(seed):
        body = OneOf({"1": conv(1), "3": conv(3), "5": conv(5)}, name="body")
        net = Supernet(nn.Sequential(body, nn.Flatten(), nn.Linear(50, 3)).double())
    rng = stream(seed, "data")
    x, y = torch.randn(8, 2, 5, 5, generator=rng, dtype=F64), torch.randint(3, (8,), generator=rng)

    def loss(w: Tensors, a: Tensors) -> Tensor:
        return nn.functional.cross_entropy(net.call(w, {"body": torch.softmax(a[0], 0)}, x), y)

    return loss, net.weights, (torch.randn(3, generator=rng, dtype=F64),)


@pytest.mark.parametrize("seed", range(3))
def test_the_central_difference_approaches_the_exact_mixed_product_as_its_step_squared(seed: int) -> None:
    loss, weights, alphas = convolutions(seed, nn.Tanh)
    u = tuple(torch.randn(w.shape, generator=stream(i, "u"), dtype=F64) for i, w in enumerate(weights))
    exact = Curvature(loss, weights, alphas).mixed(u)[0]

    def central(length: float) -> Tensor:
        step, sides = length / norm(u), []
        for sign in (1.0, -1.0):
            a = alphas[0].clone().requires_grad_()
            moved = tuple(w.detach() + sign * step * d for w, d in zip(weights, u, strict=True))
            sides.append(gradient(loss(moved, (a,)), (a,))[0])
        return (sides[0] - sides[1]) / (2 * step)

    def error(found: Tensor) -> float:
        return float((found - exact).norm() / exact.norm())

    found = mixed_difference(loss, weights, alphas, u)[0]
    assert 0 < error(found) <= 1e-4
    torch.testing.assert_close(found, central(0.01), rtol=1e-9, atol=1e-12)
    assert error(central(0.2)) / error(central(0.1)) == pytest.approx(4.0, rel=0.1)
    assert error(central(0.1)) / error(central(0.05)) == pytest.approx(4.0, rel=0.1)


def test_both_forms_of_the_mixed_product_serve_the_parts() -> None:
    loss, weights, alphas = convolutions(0, nn.Tanh)
    other = convolutions(1, nn.Tanh)[0]
    for exact, difference in (
        (Neumann(2, step=0.05), Neumann(2, step=0.05, mixed="difference")),
        (Unrolled(), Unrolled(mixed="difference")),
    ):
        found, near = (p.explain(other, loss, weights, alphas, lr=0.05).implicit[0] for p in (exact, difference))
        gap = float((found - near).norm() / found.norm())
        assert 0 < gap <= 1e-4
    with pytest.raises(UsageError, match="steps=1 only"):
        Unrolled(3, mixed="difference")


def test_no_direction_has_no_difference() -> None:
    loss, weights, alphas = convolutions(0, nn.Tanh)
    assert norm(mixed_difference(loss, weights, alphas, scale(weights, 0.0))) == 0.0
