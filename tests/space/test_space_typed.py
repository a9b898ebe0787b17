"""Types of operations: inferred shapes are those of tensors, ill-typed networks are refused by edge, exchanges keep types."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mimar.core.errors import SpaceError
from mimar.core.streams import Draws
from mimar.space import Architecture, Choice, Space
from mimar.space.moves import mutate as untyped
from mimar.space.transforms import Edge, Operation, Restrict, Wiring, adapter, classes, exchange, wiring_of
from mimar.space.transforms.typed import Shape

NODES = (0, 1, 2, 3)
EDGES = tuple(Edge(f"{i}-{j}", f"n{i}", f"n{j}") for j in NODES for i in range(j))
OPERATIONS = (
    Operation("conv1", 1, gives=8),
    Operation("conv3", 3, padding=1, gives=8),
    Operation("conv3d2", 3, padding=2, dilation=2, gives=8),
    Operation("conv3s2", 3, stride=2, padding=1, gives=16),
    Operation("conv5", 5, gives=8),
    Operation("pool3", 3, padding=1),
    Operation("pool2s2", 2, stride=2),
    Operation("skip"),
    Operation("head", 1, takes=16, gives=8),
)
FREE = Space([Choice(e.choice, (*(o.name for o in OPERATIONS), "none")) for e in EDGES])


def wiring(**more: Any) -> Wiring:
    return Wiring((("n0", (8, 12, 10)),), EDGES, OPERATIONS, **more)


def built(operation: Operation, channels: int) -> nn.Module:
    """Return a real module of the operation's type."""
    k, s, p, d = operation.kernel, operation.stride, operation.padding, operation.dilation
    if operation.gives is None:
        return nn.Identity() if (k, s, p) == (1, 1, 0) else nn.MaxPool2d(k, s, p, d)
    return nn.Conv2d(channels, operation.gives, k, s, p, d)


def run(
    w: Wiring, arch: Architecture, adapters: dict[tuple[str, str], Operation] | None = None
) -> dict[str, tuple[int, ...]]:
    """Build the network and run it; raises where torch does."""
    named = {o.name: o for o in w.operations}
    tensors = {n: torch.zeros(1, *shape) for n, shape in w.inputs}
    for edge in w.edges:
        operation = named.get(arch.get(edge.choice, ""))
        if operation is None or edge.source not in tensors:
            continue
        x = tensors[edge.source]
        if operation.takes is not None and not adapters:
            assert x.shape[1] == operation.takes
        for step in (
            (adapters or {}).get((edge.choice, "before")),
            operation,
            (adapters or {}).get((edge.choice, "after")),
        ):
            x = built(step, x.shape[1])(x) if step is not None else x
        there = tensors.get(edge.target)
        if there is not None:
            assert there.shape == x.shape or w.join == "concat"
            x = there + x if w.join == "sum" else torch.cat([there, x], 1)
        tensors[edge.target] = x
    return {n: tuple(t.shape[1:]) for n, t in tensors.items()}


def test_inferred_shapes_are_those_of_500_random_tensors() -> None:
    draws, done = Draws(0, "test"), 0
    while done < 500:
        pairs = [(1 + draws.below(5), 1 + draws.below(5)) for _ in range(2)]
        kernel, stride = pairs
        dilation = 1 + draws.below(3), 1 + draws.below(3)
        padding = draws.below(kernel[0] // 2 + 1), draws.below(kernel[1] // 2 + 1)  # at most half, as pooling asks
        shape: Shape = (1 + draws.below(4), 1 + draws.below(20), 1 + draws.below(20))
        gives = 1 + draws.below(4) if draws.uniform() < 0.5 else None
        operation = Operation("op", kernel, stride, padding, dilation, gives=gives)
        module = (
            nn.Conv2d(shape[0], gives, kernel, stride, padding, dilation)
            if gives
            else nn.MaxPool2d(*pairs, padding, dilation)
        )
        try:
            real = tuple(module(torch.zeros(1, *shape)).shape[1:])
        except RuntimeError:
            with pytest.raises(SpaceError, match="larger window"):
                operation.infer(shape)
            continue
        assert operation.infer(shape) == real
        done += 1


def test_operations_of_one_class_give_the_same_wherever_they_stand() -> None:
    everywhere = classes(OPERATIONS)
    assert ("conv1", "conv3", "conv3d2") in everywhere and ("pool3", "skip") in everywhere
    named = {o.name: o for o in OPERATIONS}
    for shape in ((8, 12, 10), (8, 7, 5), (16, 9, 9)):
        here = {name: group for group in classes(OPERATIONS, shape) for name in group}
        for group in everywhere:
            assert len({here.get(name) for name in group}) == 1
        for name, group in here.items():
            assert {named[n].infer(shape) for n in group} == {named[name].infer(shape)}
    assert any({"conv1", "skip"} <= set(g) for g in classes(OPERATIONS, (8, 12, 10)))
    assert not any("head" in g for g in classes(OPERATIONS, (8, 12, 10)))  # takes 16 channels


@pytest.mark.parametrize("join", ["sum", "concat"])
def test_well_typed_networks_run_and_others_do_not(join: Any) -> None:
    w, draws, counts = wiring(join=join), Draws(1, "test"), [0, 0]
    for _ in range(400):
        arch = FREE.sample(draws)
        typed = w(arch)
        counts[typed] += 1
        if typed:
            assert w.infer(arch) == run(w, arch)
        else:
            with pytest.raises((RuntimeError, AssertionError)):
                run(w, arch)
    assert min(counts) > 20


def test_the_offending_edge_is_named() -> None:
    arch = Architecture({e.choice: "none" for e in EDGES} | {"0-1": "skip", "0-2": "conv3", "1-2": "pool2s2"})
    with pytest.raises(SpaceError, match=r"'1-2' from 'n1' to 'n2'.*pool2s2 brings 8×6×5, and 'n2' has 8×12×10"):
        wiring().infer(arch)
    with pytest.raises(SpaceError, match=r"'0-1'.*head takes 16 channels, and is given 8×12×10"):
        wiring().infer({"0-1": "head"})
    with pytest.raises(SpaceError, match="'n3' has nothing; it must be 8×12×10"):
        wiring(output=(8, 12, 10)).infer({"0-1": "skip"})
    with pytest.raises(SpaceError, match="before all that enters it is known"):
        Wiring((("a", (1, 1, 1)),), (Edge("x", "b", "c"), Edge("y", "a", "b")), OPERATIONS)


def test_a_typed_space_holds_the_well_typed_networks_alone() -> None:
    small = Space([Choice(e.choice, ("conv3", "conv3s2", "pool2s2", "none")) for e in EDGES[:3]])
    w = Wiring((("n0", (8, 12, 10)),), EDGES[:3], OPERATIONS)
    image = Restrict(w)(small)
    assert set(image.space.enumerate()) == {a for a in small.enumerate() if w(a)}
    assert wiring_of(image.space) is w
    with pytest.raises(SpaceError, match="not typed"):
        wiring_of(small)


def test_mutation_within_the_types_is_never_invalid_and_mutation_without_often_is() -> None:
    w = wiring(output=(8, 12, 10))
    typed = Restrict(w)(FREE).space
    draws, invalid, wrong, n = Draws(2, "test"), 0, 0, 300
    arch = Architecture({e.choice: "skip" if e.target == "n3" else "none" for e in EDGES})
    assert w(arch)
    for _ in range(n):
        child = exchange(typed, arch, draws)
        wrong += not w(child) or child == arch
        invalid += not w(untyped(FREE, arch, draws))
        arch = typed.mutate(arch, draws)  # by rejection, so that edges come and go
    assert wrong == 0
    assert invalid / n > 0.2


def test_an_exchange_reaches_every_operation_of_the_class() -> None:
    typed, draws = Restrict(wiring())(FREE).space, Draws(3, "test")
    arch = Architecture({e.choice: "none" for e in EDGES} | {"0-1": "skip"})
    found = {exchange(typed, arch, draws)["0-1"] for _ in range(200)}
    assert found == {"conv1", "conv3", "conv3d2", "pool3"}
    assert wiring().exchangeable(arch) == {"0-1": ("conv1", "conv3", "conv3d2", "pool3", "skip")}


def test_an_adapter_leads_from_any_shape_to_any_other() -> None:
    draws = Draws(4, "test")
    for _ in range(300):
        a, b = ((1 + draws.below(5), 1 + draws.below(33), 1 + draws.below(33)) for _ in range(2))
        one = adapter(a, b)
        assert one.infer(a) == b
        assert tuple(built(one, a[0])(torch.zeros(1, *a)).shape[1:]) == b
    assert adapter((8, 32, 32), (16, 16, 16)) == Operation("adapter", (2, 2), (2, 2), (0, 0), takes=8, gives=16)
    assert adapter((8, 32, 32), (16, 32, 32)).kernel == (1, 1)


@pytest.mark.parametrize("join", ["sum", "concat"])
def test_inferred_adapters_make_every_network_run(join: Any) -> None:
    w, draws, needed = wiring(join=join, output=(8, 6, 5) if join == "sum" else None), Draws(5, "test"), 0
    for _ in range(200):
        arch = FREE.sample(draws)
        if not any(arch[e.choice] != "none" for e in EDGES if e.target == "n3"):
            continue
        try:
            found = w.adapters(arch)
        except SpaceError:  # a window larger than what an adapter left of the image
            continue
        needed += bool(found)
        shapes = run(
            w, arch, {(name, where): operation for name, where, operation in found} or {("", ""): OPERATIONS[0]}
        )
        if join == "sum" and "n3" in shapes:
            assert shapes["n3"] == (8, 6, 5)
        if w(arch):
            assert found == []
    assert needed > 50
