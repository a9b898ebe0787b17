"""The dominant eigenvalue of a loss in the alphas: against dense matrices, and through both engines."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar.core.errors import NonFiniteError, UsageError
from mimar.core.streams import isolated, stream
from mimar.core.trees import Tensors, flat
from mimar.gradient.probe import dominant_eigenvalue
from mimar.gradient.relax import Context, Softmax, relaxed
from mimar.nets import darts_small, nasbench201_small
from mimar.supernet import Fused, Reference, Supernet

F64 = torch.float64


def quadratic(matrix: Tensor) -> Any:
    """Return ½ aᵀMa + a term without curvature, of alphas in several tensors."""

    def loss(a: Tensors) -> Tensor:
        x = flat(a)
        return 0.5 * x @ matrix @ x + 3 * x.sum()

    return loss


def symmetric(size: int, seed: int) -> Tensor:
    drawn = torch.randn(size, size, generator=stream(seed, "matrix"), dtype=F64)
    return (drawn + drawn.T) / 2


def dense(loss: Any, alphas: Tensors) -> Tensor:
    """Return the eigenvalues of the Hessian, row by row."""
    own = tuple(a.detach().clone().requires_grad_() for a in alphas)
    slope = flat(torch.autograd.grad(loss(own), own, create_graph=True))
    rows = [flat(torch.autograd.grad(s, own, retain_graph=True)) for s in slope]
    return torch.linalg.eigvalsh(torch.stack(rows))


def edges(count: int, options: int, seed: int) -> Tensors:
    return tuple(torch.randn(options, generator=stream(seed, i), dtype=F64) for i in range(count))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_largest_eigenvalue_of_the_dense_matrix(seed: int) -> None:
    matrix, alphas = symmetric(56, seed), edges(7, 8, seed)
    wanted = float(torch.linalg.eigvalsh(matrix).abs().max())
    value, residual = dominant_eigenvalue(quadratic(matrix), alphas, iterations=50, seed=seed)
    assert value == pytest.approx(wanted, rel=1e-6) and residual < 1e-3
    below, _ = dominant_eigenvalue(quadratic(-matrix), alphas, iterations=50, seed=seed)
    assert below == pytest.approx(wanted, rel=1e-6)  # of either sign


@pytest.mark.parametrize("iterations", [1, 3, 8, 20, 56, 80])
@pytest.mark.parametrize("seed", range(5))
def test_an_eigenvalue_lies_within_the_residual(seed: int, iterations: int) -> None:
    matrix = symmetric(56, seed)
    sizes = torch.linalg.eigvalsh(matrix).abs()
    value, residual = dominant_eigenvalue(quadratic(matrix), edges(7, 8, seed), iterations=iterations)
    assert float((sizes - value).abs().min()) <= residual + 1e-9
    assert value <= float(sizes.max()) + 1e-9
    assert (residual > 1e-6) == (iterations <= 20)  # 20 products do not exhaust a spectrum of 56


def test_as_many_products_as_different_eigenvalues_are_enough() -> None:
    basis = torch.linalg.qr(torch.randn(24, 24, generator=stream(0), dtype=F64)).Q
    matrix = basis @ torch.tensor([-5.0, 2.0, 4.0], dtype=F64).repeat(8).diag() @ basis.T
    value, residual = dominant_eigenvalue(quadratic(matrix), edges(3, 8, 0), iterations=3)
    assert value == pytest.approx(5.0, rel=1e-9) and residual < 1e-6
    assert dominant_eigenvalue(quadratic(matrix), edges(3, 8, 0)) == pytest.approx((5.0, 0.0), abs=1e-6)


def test_it_is_a_function_of_its_arguments_and_touches_nothing() -> None:
    alphas = tuple(a.requires_grad_() for a in edges(7, 8, 0))
    before, state = [a.detach().clone() for a in alphas], torch.get_rng_state()
    loss = quadratic(symmetric(56, 0))
    with torch.no_grad():  # as a loop calls it
        first, again, other = (dominant_eigenvalue(loss, alphas, iterations=4, seed=s) for s in (0, 0, 1))
    assert first == again != other
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(alphas, before, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_losses_without_curvature_have_none() -> None:
    alphas = edges(2, 3, 0)
    assert dominant_eigenvalue(lambda a: a[0].sum(), alphas) == (0.0, 0.0)
    assert dominant_eigenvalue(lambda a: torch.ones(()), alphas) == (0.0, 0.0)
    assert dominant_eigenvalue(lambda a: 2 * a[1].square().sum() + a[0].sum(), alphas)[0] == pytest.approx(4.0)


def test_what_is_not_finite_is_named() -> None:
    with pytest.raises(NonFiniteError, match="curvature of the validation loss in the alphas is not finite"):
        dominant_eigenvalue(lambda a: (a[0] * math.inf).square().sum(), edges(1, 3, 0))
    with pytest.raises(UsageError, match="iterations is 0; it must be a whole number at least 1"):
        dominant_eigenvalue(quadratic(symmetric(3, 0)), edges(1, 3, 0), iterations=0)


def supernet_loss(model: Callable[[], nn.Module], engine: Any) -> tuple[Any, Tensors]:
    """Return the cross entropy of a supernet on one batch as a function of its alphas."""
    with isolated(0):
        net = Supernet(model().double(), engine=engine)
    rng = stream(0, "data")
    x, y = torch.randn(6, 1, 8, 8, generator=rng, dtype=F64), torch.randint(10, (6,), generator=rng)
    choices = relaxed(net.space)
    alphas = tuple(torch.randn(len(c.options), generator=rng, dtype=F64) for c in choices)

    def loss(a: Tensors) -> Tensor:
        gates = Softmax().gates({c.name: x for c, x in zip(choices, a, strict=True)}, Context(net.space))
        return nn.functional.cross_entropy(net.call(net.weights, gates, x), y)

    return loss, alphas


MODELS = [lambda: nasbench201_small(channels=4), lambda: darts_small(channels=4, nodes=1)]


@pytest.mark.parametrize("model", MODELS, ids=["nasbench201", "darts"])
def test_both_engines_give_the_dense_eigenvalue_of_a_supernet(model: Callable[[], nn.Module]) -> None:
    slow, alphas = supernet_loss(model, Reference())
    fast, _ = supernet_loss(model, Fused())
    values = dense(slow, alphas)
    wanted = float(values.abs().max())
    found = [dominant_eigenvalue(loss, alphas, iterations=40) for loss in (slow, fast)]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-9, abs=1e-9)
    assert all(value == pytest.approx(wanted, rel=1e-7) for value, _ in found)
    torch.testing.assert_close(dense(fast, alphas), values, rtol=1e-9, atol=1e-9)
    assert wanted > 1e-3  # there is something to find
