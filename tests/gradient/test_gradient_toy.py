"""DARTS' toy problem, whose fixed points are known, and the procedures that `Unrolled` differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mimar.core.streams import stream
from mimar.core.trees import Tensors, flat
from mimar.gradient.hypergradient import FirstOrder, Neumann, SingleLevel, Unrolled
from mimar.testing import Ridge
from mimar.testing.problems import tiny_batch, tiny_model

F64 = torch.float64


def toy_outer(w: Tensors, a: Tensors) -> Tensor:
    return (a[0] * w[0] - 2 * a[0] + 1).sum()


def toy_inner(w: Tensors, a: Tensors) -> Tensor:
    return (w[0].square() - 2 * a[0] * w[0] + a[0].square()).sum()


def slope(part: Any, lr: float, a: float) -> float:
    """Return the hypergradient at alpha = a, the weight at its own optimum w*(a) = a."""
    point = torch.tensor([a], dtype=F64)
    return float(part(toy_outer, toy_inner, (point.clone(),), (point,), lr=lr)[0])


def settled(part: Any, lr: float) -> float:
    """Return the alpha where descent comes to rest: the zero of the hypergradient, which is affine here and rises."""
    low, high = slope(part, lr, 0.0), slope(part, lr, 1.0)
    assert high > low
    found = -low / (high - low)
    assert slope(part, lr, found) == pytest.approx(0.0, abs=1e-12)
    return found


def test_descent_arrives_there() -> None:
    a = 1.7
    for _ in range(60):
        a -= 0.5 * slope(Neumann(2, step=0.25), 9.0, a)
    assert a == pytest.approx(2 / (2 - 0.5**3), abs=1e-9)


@pytest.mark.parametrize(("step", "terms"), [(0.02, -1), (0.02, 0), (0.02, 2), (0.02, 100), (0.25, 10), (0.4, 1)])
def test_neumann_has_the_fixed_points_of_the_toy(step: float, terms: int) -> None:
    wanted = 2 / (2 - (1 - 2 * step) ** (terms + 1))
    assert settled(Neumann(terms, step=step), lr=9.0) == pytest.approx(wanted, abs=1e-6)


def test_published_fixed_points() -> None:
    assert settled(Neumann(2, step="lr"), lr=0.02) == pytest.approx(1.7933, abs=1e-4)
    assert settled(Neumann(100, step="lr"), lr=0.02) == pytest.approx(1.0082, abs=1e-4)
    assert settled(FirstOrder(), lr=0.02) == pytest.approx(2.0, abs=1e-9)
    assert settled(Unrolled(), lr=0.5) == pytest.approx(1.0, abs=1e-9)


# --- relations between the estimators -------------------------------------------------------------------------------


def linear_mixed(seed: int) -> tuple[Callable[..., Tensor], Callable[..., Tensor], Tensors, Tensors]:
    """Return a problem that is quartic in w but whose mixed derivative is constant, and a point of it."""
    rng = stream(seed, "linear")
    b, w, a, d = (torch.randn(s, generator=rng, dtype=F64) for s in ((3, 4), (4,), (3,), (4,)))

    def inner(w: Tensors, a: Tensors) -> Tensor:
        return 0.1 * w[0].pow(4).sum() + 0.5 * w[0].square().sum() + a[0] @ b @ w[0] + a[0].exp().sum()

    def outer(w: Tensors, a: Tensors) -> Tensor:
        return (w[0] - d).square().sum() * (1 + a[0].square().sum())

    return outer, inner, (w,), (a,)


def look_ahead(inner: Callable[..., Tensor], weights: Tensors, alphas: Tensors, lr: float) -> Tensors:
    w = tuple(t.clone().requires_grad_() for t in weights)
    slopes = torch.autograd.grad(inner(w, alphas), w)
    return tuple((t - lr * s).detach() for t, s in zip(w, slopes, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_no_product_is_the_unrolled_implicit_term_at_the_look_ahead_point(seed: int) -> None:
    outer, inner, w, a = linear_mixed(seed)
    unrolled = Unrolled(1).explain(outer, inner, w, a, lr=0.1)
    ahead = Neumann(0, step=0.1).explain(outer, inner, look_ahead(inner, w, a, 0.1), a, lr=9.0)
    torch.testing.assert_close(ahead.implicit, unrolled.implicit, rtol=1e-12, atol=0)
    torch.testing.assert_close(ahead.direct, unrolled.direct, rtol=1e-12, atol=0)
    here = Neumann(0, step=0.1).explain(outer, inner, w, a, lr=9.0)
    assert (here.implicit[0] - unrolled.implicit[0]).norm() > 1e-3 * unrolled.implicit[0].norm()


def test_and_not_where_the_mixed_derivative_varies() -> None:
    problem = Ridge.drawn()
    w, a = problem.point()
    unrolled = Unrolled(1).explain(problem.outer, problem.inner, w, a, lr=0.1)
    ahead = look_ahead(problem.inner, w, a, 0.1)
    found = Neumann(0, step=0.1).explain(problem.outer, problem.inner, ahead, a, lr=0.1)
    assert (flat(found.implicit) - flat(unrolled.implicit)).norm() > 1e-2 * flat(unrolled.implicit).norm()


# --- the unrolled procedure by finite differences -------------------------------------------------------------------


def network_losses() -> tuple[Callable[..., Tensor], Callable[..., Tensor], Tensors, Tensors]:
    """Return losses of the tiny supernet with fixed noise, and its weights and alphas."""
    from mimar.supernet import Supernet

    net = Supernet(tiny_model())
    names = [c.name for c in net.space.choices]

    def loss(number: int) -> Callable[[Tensors, Tensors], Tensor]:
        x, y = tiny_batch(number)

        def value(w: Tensors, a: Tensors) -> Tensor:
            gates = {n: torch.softmax(t, 0) for n, t in zip(names, a, strict=True)}
            return torch.nn.functional.cross_entropy(net.call(w, gates, x, rng=stream(number, "n")), y)

        return value

    alphas = tuple(0.3 * torch.randn(3, generator=stream(i, "a"), dtype=F64) for i in range(len(names)))
    return loss(0), loss(1), tuple(w.detach() for w in net.weights), alphas


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("kind", ["ridge", "network"])
def test_unrolled_is_the_derivative_of_the_procedure(steps: int, kind: str) -> None:
    ridge = Ridge.drawn(5)
    outer, inner, w, a = network_losses() if kind == "network" else (ridge.outer, ridge.inner, *ridge.point(5))
    direction = tuple(torch.randn(t.shape, generator=stream(i, "d"), dtype=F64) for i, t in enumerate(a))

    def procedure(t: float) -> float:
        moved = tuple(x + t * d for x, d in zip(a, direction, strict=True))
        point = w
        for _ in range(steps):
            point = look_ahead(inner, point, moved, 0.1)
        return float(outer(point, moved))

    found = Unrolled(steps)(outer, inner, w, a, lr=0.1)
    slope = float(sum((g * d).sum() for g, d in zip(found, direction, strict=True)))
    assert slope == pytest.approx((procedure(1e-5) - procedure(-1e-5)) / 2e-5, rel=1e-6)


def test_first_order_and_single_level_are_their_definitions() -> None:
    outer, inner, w, a = network_losses()
    for part, loss in ((FirstOrder(), outer), (SingleLevel(), inner)):
        leaves = tuple(t.clone().requires_grad_() for t in a)
        wanted = torch.autograd.grad(loss(w, leaves), leaves)
        assert all(torch.equal(g, x) for g, x in zip(part(outer, inner, w, a, lr=0.1), wanted, strict=True))


def test_costs_of_unrolling() -> None:
    assert FirstOrder().passes == SingleLevel().passes == 3.0
    assert Unrolled(1).passes == 3 + 3 + 7
    assert Unrolled(3).passes == 9 + 3 + 21 + 8
    assert Unrolled(1, mixed="difference").passes == 3 + 3 + 6
