"""Costs of options: with a fixed part they add up to the cost of a network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mimar import nets
from mimar.core import count
from mimar.core.errors import UsageError
from mimar.core.streams import stream
from mimar.objectives import option_costs
from mimar.space import Architecture, OneOf, SomeOf, of
from mimar.supernet import Supernet, extract


def spent(model: nn.Module, costs: dict[str, torch.Tensor], arch: Architecture) -> float:
    """Return the sum of the costs of an architecture's options."""
    gates = of(model).gates(arch, dtype=torch.float64)
    return sum(float(costs[name] @ gate) for name, gate in gates.items())


@pytest.mark.parametrize("affine", [True, False])
def test_parameters_of_nasbench201_are_the_published_ones(affine: bool) -> None:
    cells, channels = 2, 8
    model = nets.nasbench201(cells, channels, affine=affine)
    costs = option_costs(model, "params", None)
    kernels = {"none": 0, "skip_connect": 0, "nor_conv_1x1": 1, "nor_conv_3x3": 9, "avg_pool_3x3": 0}
    widths = [channels * 2**stage for stage in range(3)]
    for choice in of(model).choices:
        each = [
            cells * sum(kernels[o] * c * c + (2 * c * affine if kernels[o] else 0) for c in widths)
            for o in choice.options
        ]
        assert costs[choice.name].tolist() == each
    fixed = count.params(model) - sum(float(c.sum()) for c in costs.values())
    for seed in range(5):
        arch = of(model).sample(stream(seed))
        missing = 0 if affine else sum(2 * c * cells for c in widths for o in arch.values() if kernels[o])
        total = nets.nasbench201_params(arch, cells, channels)
        assert fixed + spent(model, costs, arch) == total - missing


@pytest.mark.parametrize("make", [nets.nasbench201_small, nets.darts_small])
@pytest.mark.parametrize("measure", ["params", "macs"])
def test_costs_and_a_fixed_part_are_the_cost_of_any_network(make: Any, measure: str) -> None:
    model = make()
    x = torch.zeros(1, 1, 16, 16)
    costs = option_costs(model, measure, x)
    assert set(costs) == {c.name for c in of(model).choices}
    assert all(c.dtype == torch.float64 and (c >= 0).all() for c in costs.values())
    fixed = set()
    for seed in range(3):
        arch = of(model).sample(stream(seed))
        net = extract(model, arch).eval()
        whole = count.params(net) if measure == "params" else count.macs(net, x)
        fixed.add(whole - spent(model, costs, arch))
    assert len(fixed) == 1 and fixed.pop() > 0
    assert sum(float(c.sum()) for c in costs.values()) > 0


def test_all_options_and_the_fixed_part_are_the_supernet() -> None:
    model = nets.darts_small()
    x, net = torch.zeros(1, 1, 16, 16), Supernet(model)
    gates = {c.name: torch.ones(len(c.options)) for c in net.space.choices}
    whole = count.macs(lambda x: net.call(net.weights, gates, x, training=False), x)
    costs = option_costs(model, "macs", x)
    arch = net.space.sample(stream(0))
    fixed = count.macs(extract(model, arch).eval(), x) - spent(model, costs, arch)
    assert fixed + sum(float(c.sum()) for c in costs.values()) == whole


def test_a_nested_choice_has_its_cost_to_itself() -> None:
    shared = nn.Linear(4, 4, bias=False)
    frozen = nn.Linear(4, 4, bias=False)
    frozen.weight.requires_grad_(False)

    def inner() -> OneOf:
        return OneOf({"p": nn.Linear(4, 4, bias=False), "q": nn.Identity()}, name="inner")

    model = SomeOf(
        {
            "0": nn.Sequential(shared, inner(), shared),
            "1": nn.Sequential(frozen, inner(), nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)),
        },
        k=1,
        name="node",
    )
    x = torch.zeros(1, 4)
    assert {n: c.tolist() for n, c in option_costs(model, "params", x).items()} == {"node": [16, 32], "inner": [32, 0]}
    assert {n: c.tolist() for n, c in option_costs(model, "macs", x).items()} == {"node": [32, 48], "inner": [32, 0]}


def test_every_candidate_gets_its_own_input_and_several_arguments_pass() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = SomeOf({"a": nn.Linear(3, 2), "b": nn.Linear(5, 2)}, k=1, name="n")
            self.pair = OneOf({"bi": nn.Bilinear(2, 2, 2), "first": First()}, name="o")

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            z = self.node([x, y])
            return self.pair(z, z)

    class First(nn.Module):
        def forward(self, x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            return x

    found = option_costs(Two(), "macs", (torch.zeros(1, 3), torch.zeros(1, 5)))
    assert found["n"].tolist() == [6, 10] and found["o"][1] == 0


def test_measuring_leaves_the_model_and_the_generators_alone() -> None:
    model = nets.s4(3, 4, in_channels=1)  # with noise
    model.head.eval()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    option_costs(model, "macs", torch.zeros(1, 1, 16, 16))
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes and torch.equal(torch.get_rng_state(), state)


def test_an_unknown_measure_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'params'"):
        option_costs(nets.nasbench201_small(), "param", None)
