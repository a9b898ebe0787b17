"""Structural zeros: options that gates call inactive are not executed and get no gradient, under both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar import OneOf, SomeOf, nets
from mimar.core.streams import isolated, stream
from mimar.gradient.mix import MaxW
from mimar.gradient.relax import (
    Categorical,
    Context,
    EdgeSoftmax,
    GroupDropout,
    GumbelHard,
    PathDrop,
    Softmax,
    SparseNoisy,
    keeps,
)
from mimar.supernet import Fused, Gates, Reference, Supernet
from mimar.supernet.gates import active_of

NETS = ["nasbench201-small", "darts-small:channels=2,nodes=2", "s4:cells=3,channels=2"]
PARTS = [
    GumbelHard(),
    Categorical(),
    SparseNoisy(start=0.5, end=0.5, threshold=0.15),
    GroupDropout(rate=0.2),
    PathDrop(EdgeSoftmax(Softmax(scale=1.0)), rate=0.7),
    PathDrop(EdgeSoftmax(GumbelHard()), rate=0.5),
]


def made(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    with isolated(0):
        return nets.named(name, in_channels=1, classes=3).to(dtype)


def drawn(part: Any, model: nn.Module, seed: int) -> tuple[dict[str, Tensor], Gates]:
    """Return alphas that ask for gradients, and the gates of one step."""
    space = Supernet(model).space
    alphas = {n: a.double().requires_grad_() for n, a in part.init(space, stream(0)).items()}
    return alphas, part.gates(alphas, Context(space, 0.9, stream(seed, "gates"), held=keeps(part, space)))


@contextmanager
def counted(model: nn.Module) -> Iterator[dict[tuple[str, int], int]]:
    """Count the calls of every candidate by (choice, place)."""
    calls: dict[tuple[str, int], int] = {}
    hooks = []

    def hook(key: tuple[str, int]) -> Any:
        def count(*_: Any) -> None:
            calls[key] = calls.get(key, 0) + 1

        return count

    for module in model.modules():
        if isinstance(module, OneOf | SomeOf):
            hooks += [m.register_forward_hook(hook((module.name, i))) for i, m in enumerate(module.candidates)]
    yield calls
    for h in hooks:
        h.remove()


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("net", NETS[:2])
@pytest.mark.parametrize("engine", [Reference(), Fused()], ids=["reference", "fused"])
def test_what_is_inactive_is_not_executed(net: str, part: Any, engine: Any) -> None:
    """Under hooks the fused engine steps back to the reference's way, so it has to know of them there too."""
    model = made(net)
    supernet, x = Supernet(model, engine=engine), torch.randn(2, 1, 8, 8, generator=stream(1), dtype=torch.float64)
    idle = 0
    for seed in range(2):
        _, gates = drawn(part, model, seed)
        with counted(model) as calls:
            supernet.call(supernet.weights, gates, x)
        for choice in supernet.space.choices:
            active = active_of(gates, choice.name) or (True,) * len(choice.options)
            for i, runs in enumerate(active):
                assert ((choice.name, i) in calls) == runs
                idle += not runs
    assert idle > 5


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("net", NETS)
def test_both_engines_agree_on_what_is_left(net: str, part: Any) -> None:
    model = made(net)
    x = torch.randn(2, 1, 8, 8, generator=stream(1), dtype=torch.float64)
    reference, fused = Supernet(model, engine=Reference()), Supernet(model, engine=Fused())
    for seed in range(2):
        _, gates = drawn(part, model, seed)
        found = []
        for supernet in (reference, fused):
            leaves = Gates({n: g.detach().requires_grad_() for n, g in gates.items()}, gates.active)
            y, buffers = supernet.call(supernet.weights, leaves, x, rng=stream(3), update=True)
            inputs = (*supernet.weights, *leaves.values())
            slopes = torch.autograd.grad(y.square().sum(), inputs, allow_unused=True, materialize_grads=True)
            found.append((y.detach(), *slopes, *(b.double() for b in buffers)))
            for name, slope in zip(leaves, slopes[len(supernet.weights) :], strict=True):
                active = active_of(gates, name)
                assert active is None or not bool(slope[~torch.tensor(active)].any())
        scale = max(float(t.abs().max()) for t in found[0])
        for one, other in zip(*found, strict=True):
            assert float((one - other).abs().max()) <= 1e-11 * max(scale, 1.0)


@pytest.mark.parametrize("net", NETS[:2])
@pytest.mark.parametrize("engine", [Reference(), Fused()], ids=["reference", "fused"])
def test_weights_of_what_is_inactive_do_not_matter_and_get_nothing(net: str, engine: Any) -> None:
    model = made(net)
    supernet, x = Supernet(model, engine=engine), torch.randn(2, 1, 8, 8, generator=stream(1), dtype=torch.float64)
    _, gates = drawn(GumbelHard(), model, 5)
    y = supernet.call(supernet.weights, gates, x)
    idle = set()
    for module in model.modules():
        if isinstance(module, OneOf):
            off = [not a for a in gates.active[module.name]]
            idle |= {id(p) for m, out in zip(module.candidates, off, strict=True) if out for p in m.parameters()}
    assert idle
    spoilt = [torch.full_like(w, torch.nan) if id(w) in idle else w for w in supernet.weights]
    assert torch.equal(supernet.call(spoilt, gates, x), y)
    slopes = torch.autograd.grad(y.sum(), supernet.weights, allow_unused=True, materialize_grads=True)
    assert all(not bool(s.any()) for w, s in zip(supernet.weights, slopes, strict=True) if id(w) in idle)


@pytest.mark.parametrize("net", NETS[:2])
def test_second_derivatives_agree_where_options_are_left_out(net: str) -> None:
    model = made(net)
    x = torch.randn(2, 1, 8, 8, generator=stream(1), dtype=torch.float64)
    alphas, gates = drawn(GroupDropout(rate=0.2), model, 1)
    found = []
    for engine in (Reference(), Fused()):
        supernet = Supernet(model, engine=engine)
        y = supernet.call(supernet.weights, gates, x)
        first = torch.autograd.grad(
            y.square().sum(), supernet.weights, create_graph=True, allow_unused=True, materialize_grads=True
        )
        total = torch.stack(
            [(g * torch.randn(g.shape, generator=stream(i), dtype=g.dtype)).sum() for i, g in enumerate(first)]
        ).sum()
        found.append(torch.autograd.grad(total, list(alphas.values()), retain_graph=True))
    scale = max(float(t.abs().max()) for t in found[0])
    assert scale > 0
    for one, other in zip(*found, strict=True):
        assert float((one - other).abs().max()) <= 1e-11 * scale


@pytest.mark.parametrize("engine", [Reference(), Fused()], ids=["reference", "fused"])
def test_a_mixer_does_not_wake_what_is_inactive(engine: Any) -> None:
    model = made(NETS[1])
    supernet, x = Supernet(model, engine=engine), torch.randn(2, 1, 8, 8, generator=stream(1), dtype=torch.float64)
    _, gates = drawn(PARTS[2], model, 0)
    mixed = MaxW()(gates, supernet.space)
    with counted(model) as calls:
        supernet.call(supernet.weights, mixed, x)
    assert {name for name, _ in calls} == {c.name for c in supernet.space.choices}
    assert all(gates.active[name][i] for name, i in calls if name in gates.active)


def test_gates_joined_keep_both_sides_of_what_is_active_and_narrow_it() -> None:
    one = Gates({"a": torch.ones(2)}, {"a": (True, False)})
    both = one | {"b": torch.zeros(3)} | Gates({"c": torch.ones(1)}, {"c": (True,)})
    assert set(both) == {"a", "b", "c"} and both.active == {"a": (True, False), "c": (True,)}
    both.only("b", (True, True, False))
    both.only("b", (False, True, True))
    assert both.active["b"] == (False, True, False) and one.active == {"a": (True, False)}
    with pytest.raises(ValueError, match="zip"):
        both.only("b", (True,))
