"""Mixers: what the network sees of the gates."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimar import OneOf
from mimar.core.streams import stream
from mimar.gradient.mix import MaxW, Sum
from mimar.gradient.relax import Context, GumbelHard, Softmax
from mimar.space import Choice, Space, darts
from mimar.supernet import Gates, Reference, Supernet

SPACE = Space([Choice("a", ("x", "y", "z")), Choice("n", ("p", "q"), "some", 1)])


def test_the_sum_is_the_gates_themselves() -> None:
    gates = Softmax().gates({"a": torch.randn(3, generator=stream(0))}, Context(SPACE))
    assert Sum()(gates, SPACE) is gates


@pytest.mark.parametrize("through", [True, False])
def test_the_leading_coefficient_is_exactly_one(through: bool) -> None:
    for seed in range(200):
        p = torch.softmax(torch.randn(3, generator=stream(seed)), 0)
        found = MaxW(through)(Gates({"a": p, "n": torch.tensor([0.3, 0.4])}), SPACE)
        best = int(p.argmax())
        assert float(found["a"][best]) == 1.0 and float(found["a"].max()) == 1.0 and float(found["a"].min()) > 0
        assert torch.allclose(found["a"], 1 - p.max() + p)
        assert torch.equal(found["n"], torch.tensor([0.3, 0.4]))


@pytest.mark.parametrize("through", [True, False])
def test_the_gradient_runs_through_the_maximum_or_does_not(through: bool) -> None:
    outputs = torch.tensor([0.7, -1.9, 0.4], dtype=torch.float64)
    p = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64, requires_grad=True)
    found = MaxW(through)(Gates({"a": p, "n": torch.ones(2)}), SPACE)
    (slope,) = torch.autograd.grad(found["a"] @ outputs, p)
    rest = float(outputs[0] + outputs[2])
    assert slope.tolist() == pytest.approx([0.7, -rest if through else -1.9, 0.4])


def test_the_network_sums_its_options_under_the_coefficients() -> None:
    choice = OneOf({"x": nn.Identity(), "y": nn.Tanh(), "z": nn.ReLU()}, name="a")
    supernet = Supernet(nn.Sequential(choice), engine=Reference())
    x = torch.randn(2, 4, generator=stream(1))
    p = torch.tensor([0.2, 0.5, 0.3])
    y = supernet.call((), MaxW()(Gates({"a": p}), supernet.space), x)
    assert torch.allclose(y, 0.7 * x + x.tanh() + 0.8 * x.relu())


def test_options_that_do_not_run_stay_out() -> None:
    space = darts(nodes=2)
    gates = GumbelHard().gates(GumbelHard().init(space, stream(0)), Context(space, 0.5, stream(1)))
    found = MaxW()(gates, space)
    assert found.active == gates.active
    assert all(torch.equal(found[n], gates[n]) for n in gates)
    assert found is not gates and all(gates[n] is not found[n] for n in gates.active)
