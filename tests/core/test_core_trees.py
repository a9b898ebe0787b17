"""Arithmetic on tuples of tensors, derivatives as pure functions, series."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mimar.core import trees
from mimar.core.derivatives import Curvature, gradient
from mimar.core.series import conjugate_gradient, neumann
from mimar.core.streams import stream
from mimar.core.trees import Tensors

F64 = torch.float64


def some(seed: int) -> Tensors:
    return tuple(torch.randn(s, generator=stream(seed, i), dtype=F64) for i, s in enumerate(((2, 3), (), (4,), (0,))))


@given(st.integers(0, 99), st.floats(-3, 3))
def test_trees_are_vectors(seed: int, c: float) -> None:
    x, y = some(seed), some(seed + 1)
    u, v = trees.flat(x), trees.flat(y)
    assert u.shape == (11,)
    torch.testing.assert_close(trees.flat(trees.add(x, y, c)), u + c * v)
    torch.testing.assert_close(trees.flat(trees.scale(x, c)), c * u)
    torch.testing.assert_close(trees.dot(x, y), u @ v)
    assert trees.norm(x) == pytest.approx(float(u.norm()), rel=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(trees.unflat(u, x), x, strict=True))
    assert not bool(trees.flat(trees.zeros_like(x)).any())


def test_the_square_of_a_tree_has_all_derivatives() -> None:
    x = tuple(t.requires_grad_() for t in some(0))
    torch.testing.assert_close(trees.square(x), trees.flat(x).square().sum())
    assert torch.autograd.gradcheck(lambda *x: trees.square(x), x)
    assert torch.autograd.gradgradcheck(lambda *x: trees.square(x).exp(), x)  # one whose slope depends on its value
    with torch.no_grad():
        assert not trees.square(x).requires_grad


def test_the_empty_tree() -> None:
    assert trees.square(()).item() == 0.0
    assert trees.add((), ()) == trees.scale((), 2.0) == trees.zeros_like(()) == ()
    assert trees.norm(()) == 0.0 and trees.dot((), ()).item() == 0.0 and trees.flat(()).shape == (0,)


def test_trees_of_different_lengths_are_refused() -> None:
    with pytest.raises((ValueError, RuntimeError)):
        trees.dot(some(0), some(0)[:2])
    with pytest.raises((ValueError, RuntimeError)):
        trees.add(some(0), some(0)[:2])


def test_leaves_share_storage_and_need_gradients() -> None:
    x = (torch.ones(2, requires_grad=True), torch.ones(2, dtype=torch.int64))
    found = trees.leaves(x)
    assert found[0].is_leaf and found[0].requires_grad and not found[1].requires_grad
    assert found[0].data_ptr() == x[0].data_ptr() and found[0] is not x[0]
    assert not trees.detached(x)[0].requires_grad and trees.detached(x)[0].data_ptr() == x[0].data_ptr()


def test_finite_looks_at_every_entry() -> None:
    assert trees.finite(some(0)) and trees.finite(())
    for bad in (float("nan"), float("inf"), -float("inf")):
        assert not trees.finite((*some(0), torch.tensor([0.0, bad])))


def test_norm_of_parameters_needs_no_graph() -> None:
    assert trees.norm((torch.full((4,), 3.0, requires_grad=True),)) == 6.0


def test_gradient_fills_zeros_and_leaves_grad_alone() -> None:
    x, y = torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)
    found = gradient((x * x).sum(), (x, y))
    assert found[0].tolist() == [2.0] * 3 and found[1].tolist() == [0.0] * 2
    assert x.grad is None and y.grad is None
    assert gradient(torch.ones(()), (x,))[0].tolist() == [0.0] * 3
    assert gradient(torch.ones(()), ()) == ()


def test_curvature_serves_many_products_of_one_graph() -> None:
    rng = stream(0)
    a, b = torch.randn(4, 4, generator=rng, dtype=F64), torch.randn(2, 4, generator=rng, dtype=F64)
    bend = Curvature(
        lambda w, c: 0.5 * w[0] @ a @ w[0] + c[0] @ b @ w[0],
        (torch.ones(4, dtype=F64), torch.ones(1, dtype=F64)),
        (torch.ones(2, dtype=F64), torch.ones(3, dtype=F64)),
    )
    for i in range(3):
        u = torch.randn(4, generator=stream(i), dtype=F64)
        found = bend.hessian((u, torch.ones(1, dtype=F64)))
        torch.testing.assert_close(found[0], 0.5 * (a + a.T) @ u)
        assert found[1].item() == 0.0
        mixed = bend.mixed((u, torch.ones(1, dtype=F64)))
        torch.testing.assert_close(mixed[0], b @ u)
        assert mixed[1].tolist() == [0.0] * 3


def test_series_take_a_product_of_their_own_for_each_factor() -> None:
    """(I − γA₁)(I − γA₀)v in the order of the factors."""
    rng = stream(1)
    many = [torch.randn(3, 3, generator=rng, dtype=F64) for _ in range(2)]
    v = torch.randn(3, generator=rng, dtype=F64)
    found = neumann(lambda j: lambda u: (many[j] @ u[0],), (v,), terms=2, step=0.3)
    eye = torch.eye(3, dtype=F64)
    first = (eye - 0.3 * many[0]) @ v
    second = (eye - 0.3 * many[1]) @ first
    torch.testing.assert_close(found.solution[0], 0.3 * (v + first + second))
    assert found.norms == pytest.approx([float(u.norm()) for u in (v, first, second)])


def test_conjugate_gradients_stop_where_they_are_done() -> None:
    calls = []

    def product(u: Tensors) -> Tensors:  # type: ignore[valid-type]
        calls.append(1)
        return (2.0 * u[0],)

    found = conjugate_gradient(product, (torch.ones(5, dtype=F64),), iterations=50)
    assert len(calls) == 1 and found.solution[0].tolist() == [0.5] * 5 and found.curvature == 2.0
    nothing = conjugate_gradient(product, (torch.zeros(5, dtype=F64),), iterations=50)
    assert len(calls) == 1 and not bool(nothing.solution[0].any()) and nothing.curvature is None
