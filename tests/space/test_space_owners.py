"""Which options a weight belongs to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimar import nets
from mimar.space import OneOf, SomeOf, of
from mimar.space.owners import owners
from mimar.supernet import Gates, Supernet


def test_nested_options_own_their_weights_together_and_outside_nothing_does() -> None:
    inner = OneOf({"p": nn.Linear(2, 2), "q": nn.Identity()}, name="inner")
    model = nn.Sequential(
        nn.Linear(2, 2),
        SomeOf({"0": nn.Sequential(inner), "1": nn.Linear(2, 2, bias=False)}, k=1, name="node"),
    )
    assert owners(model) == {
        "0.weight": (),
        "0.bias": (),
        "1.candidates.0.0.candidates.0.weight": (("node", 0), ("inner", 0)),
        "1.candidates.0.0.candidates.0.bias": (("node", 0), ("inner", 0)),
        "1.candidates.1.weight": (("node", 1),),
    }


def test_a_shared_weight_belongs_to_what_its_places_have_in_common() -> None:
    shared, outside = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    inner = OneOf({"p": shared, "q": shared, "r": outside}, name="inner")
    model = nn.Sequential(OneOf({"x": nn.Sequential(inner), "y": nn.Identity()}, name="outer"), outside)
    assert list(owners(model).values()) == [(("outer", 0),), ()]


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_a_weight_gets_a_gradient_exactly_where_its_owners_are_active(name: str) -> None:
    make = {"nasbench201": nets.nasbench201_small, "darts": nets.darts_small}[name]
    net = Supernet(make(classes=4))
    found, space = owners(net.model), of(net.model)
    assert set(found) == set(net.weight_names)
    gates = Gates()
    for i, choice in enumerate(space.choices):
        n = len(choice.options)
        gates[choice.name] = torch.full((n,), 1.0 / n)
        gates.active[choice.name] = tuple((i + j) % 3 != 0 for j in range(n))
    weights = tuple(w.detach().requires_grad_() for w in net.weights)
    x = torch.linspace(-1, 1, 4 * 64).reshape(4, 1, 8, 8)
    slopes = torch.autograd.grad(net.call(weights, gates, x).square().sum(), weights, allow_unused=True)
    for weight, slope in zip(net.weight_names, slopes, strict=True):
        taken = all(gates.active[c][o] for c, o in found[weight])
        assert taken or slope is None or not slope.any()
        assert slope is not None or not found[weight] or not taken or name == "darts"
