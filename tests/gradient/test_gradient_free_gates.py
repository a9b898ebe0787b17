"""Gates off the plain softmax: sigmoids, Dirichlet mixtures, clamped alphas."""

from __future__ import annotations

import math

import pytest
import torch

from mimar.core.streams import stream
from mimar.gradient.relax import Box, Context, Dirichlet, Sigmoid, keeps, settle
from mimar.gradient.relax.dirichlet import concentration
from mimar.space import Choice, Space, nasbench201

SPACE = Space([Choice("a", ("x", "y", "z"))])
ALPHA = torch.tensor([0.8, -1.2, 0.1], dtype=torch.float64)

# --- sigmoid --------------------------------------------------------------------------------------------------------


def test_sigmoid_gates_are_independent() -> None:
    alpha = ALPHA.clone().requires_grad_()
    gate = Sigmoid().gates({"a": alpha}, Context(SPACE))["a"]
    wanted = 1 / (1 + (-ALPHA).exp())
    assert torch.allclose(gate, wanted, rtol=1e-14)
    rows = torch.stack([torch.autograd.grad(g, alpha, retain_graph=True)[0] for g in gate])
    assert torch.allclose(rows, torch.diag(wanted * (1 - wanted)), rtol=1e-12)


def test_sigmoid_starts_at_its_bias() -> None:
    found = Sigmoid(bias=-2.0, scale=0.0).init(nasbench201(), stream(0))
    assert all(torch.equal(a, torch.full((5,), -2.0)) for a in found.values())
    assert 0 < float((Sigmoid().init(SPACE, stream(0))["a"]).abs().max()) < 5e-3


# --- Dirichlet ------------------------------------------------------------------------------------------------------


def test_concentrations_are_elu_plus_one_and_above_zero() -> None:
    alpha = torch.linspace(-8, 5, 101, dtype=torch.float64, requires_grad=True)
    wanted = torch.nn.functional.elu(alpha) + 1
    assert torch.allclose(concentration(alpha), wanted, rtol=1e-10)
    slopes = [torch.autograd.grad(f.sum(), alpha)[0] for f in (concentration(alpha), wanted)]
    assert torch.allclose(*slopes, rtol=1e-12)
    assert float(concentration(torch.tensor(-500.0))) > 0


def test_evaluation_sees_the_mean_of_the_mixtures() -> None:
    c = concentration(ALPHA)
    found = Dirichlet().gates({"a": ALPHA}, Context(SPACE, training=False))["a"]
    assert torch.equal(found, c / c.sum())
    many = {f"c{i}": ALPHA for i in range(20_000)}
    drawn = torch.stack([*Dirichlet().gates(many, Context(SPACE, 0.5, stream(0))).values()])
    mean, total = c / c.sum(), c.sum()
    assert torch.allclose(drawn.mean(0), mean, atol=0.01)
    assert torch.allclose(drawn.var(0), mean * (1 - mean) / (total + 1), rtol=0.05)  # the Dirichlet's own variance
    assert torch.allclose(drawn.sum(1), torch.ones(20_000, dtype=torch.float64), atol=1e-12)


def test_the_pathwise_gradient_is_that_of_the_mean_for_a_linear_function() -> None:
    credit = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    many = {f"c{i}": ALPHA.clone().requires_grad_() for i in range(6000)}
    found = Dirichlet().gates(many, Context(SPACE, 0.5, stream(1)))
    total = torch.stack([g @ credit for g in found.values()]).sum()
    slopes = torch.stack(torch.autograd.grad(total, list(many.values())))
    alpha = ALPHA.clone().requires_grad_()
    c = concentration(alpha)
    (wanted,) = torch.autograd.grad(c @ credit / c.sum(), alpha)
    error = slopes.std(0) / math.sqrt(len(slopes))
    assert bool((error < 0.015).all()) and bool(((slopes.mean(0) - wanted).abs() < 4 * error).all())


def test_mixtures_of_tiny_concentrations_are_corners_not_nan() -> None:
    alpha = torch.full((3,), -9.0, requires_grad=True)
    for seed in range(20):
        gate = Dirichlet().gates({"a": alpha}, Context(SPACE, 0.5, stream(seed)))["a"]
        (slope,) = torch.autograd.grad(gate[0], alpha)
        assert bool(torch.isfinite(gate).all()) and bool(torch.isfinite(slope).all())
        assert float(gate.detach().max()) > 0.99


# --- box ------------------------------------------------------------------------------------------------------------


def test_box_starts_near_uniform_and_gates_are_clamped_alphas() -> None:
    found = Box().init(nasbench201(), stream(0))
    spread = torch.cat([*found.values()]) - 0.2
    assert 0 < float(spread.abs().max()) < 5e-4 and float(spread.std()) == pytest.approx(1e-4, rel=0.5)
    alpha = torch.tensor([0.3, 1.0, 0.0, 1.7, -0.2], dtype=torch.float64, requires_grad=True)
    gate = Box().gates({"a": alpha}, Context(SPACE))["a"]
    assert torch.equal(gate, torch.tensor([0.3, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64))
    (slope,) = torch.autograd.grad(gate.sum(), alpha)
    assert slope.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_what_has_come_to_zero_is_out_for_good() -> None:
    part, before = Box(), {"a": torch.tensor([0.2, 0.3, 0.4])}
    ctx = Context(SPACE, 0.5, scope="outer", held=keeps(part, SPACE))
    assert part.gates(before, ctx).active == {}
    after = {"a": torch.tensor([-0.01, 1.4, 0.5])}
    settle(part, after, before, ctx)
    assert after["a"].tolist() == [0.0, 1.0, 0.5] and ctx.held["dead/a"].tolist() == [1, 0, 0]
    grown = {"a": torch.tensor([0.9, 0.8, 0.5])}  # what momentum may make of it
    found = part.gates(grown, ctx)
    assert torch.equal(found["a"], torch.tensor([0.0, 0.8, 0.5])) and found.active["a"] == (False, True, True)
    settle(part, grown, after, ctx)
    assert ctx.held["dead/a"].tolist() == [1, 0, 0] and float(grown["a"][0]) == 0.0


def test_the_strongest_option_stays() -> None:
    part, ctx = Box(), Context(SPACE, held=keeps(Box(), SPACE))
    ctx.held["dead/a"].copy_(torch.tensor([1.0, 0.0, 0.0]))
    before, after = {"a": torch.tensor([0.0, 0.02, 0.01])}, {"a": torch.tensor([0.0, -0.3, -0.2])}
    settle(part, after, before, ctx)
    assert ctx.held["dead/a"].tolist() == [1, 0, 1] and after["a"].tolist() == pytest.approx([0.0, 0.02, 0.0])
    assert part.gates(after, ctx).active["a"] == (False, True, False)
