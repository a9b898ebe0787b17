"""The DARTS network and its relatives: faithful to the published search network, and robust to small images."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, fx, nn

from mimar import nets, space
from mimar.core.errors import SpaceError, UsageError
from mimar.core.streams import isolated, stream
from mimar.nets.operations import DARTS, FactorizedReduce, Noise, Zero, build
from mimar.space import EXECUTION, OneOf, SomeOf


class Everything:
    """An execution with all gates at one over the number of options; remembers how it was called."""

    def __init__(self) -> None:
        self.inputs: list[tuple[str, int]] = []

    def one(self, choice: OneOf, x: tuple[Tensor, ...]) -> Tensor:
        shapes = {candidate(*x).shape for candidate in choice.candidates}
        assert len(shapes) == 1, f"options of {choice.name} differ in shape: {shapes}"
        return torch.stack([candidate(*x) for candidate in choice.candidates]).mean(0)

    def some(self, choice: SomeOf, xs: Tensor | Sequence[Tensor]) -> Tensor:
        assert isinstance(xs, list)
        self.inputs.append((choice.name, len(xs)))
        return torch.stack([c(x) for c, x in zip(choice.candidates, xs, strict=True)]).sum(0)


def run(net: nn.Module, x: Tensor) -> tuple[Tensor, Everything]:
    everything = Everything()
    token = EXECUTION.set(everything)
    try:
        return net(x), everything
    finally:
        EXECUTION.reset(token)


def test_parameters_of_the_published_search_network() -> None:
    # 1.930618 MB is what the DARTS search script prints for its 8 cells of 16 channels
    assert sum(p.numel() for p in nets.darts().parameters()) == 1_930_618


def test_space_of_the_network_is_the_published_space() -> None:
    assert space.of(nets.darts(3, 2)).choices == space.darts().choices
    assert space.of(nets.darts(3, 2, nodes=2)).choices == space.darts(2).choices
    assert space.of(nets.darts(3, 2)).layout == "darts"
    for make, lists in ((nets.s1, space.S1), (nets.s2, space.S2), (nets.s3, space.S3), (nets.s4, space.S4)):
        assert space.of(make(3, 2)).choices == space.darts(operations=lists).choices


def test_reductions_at_one_and_two_thirds() -> None:
    for cells, expected in ((8, [2, 5]), (3, [1, 2]), (6, [2, 4]), (20, [6, 13])):
        net = nets.darts(cells, 2, nodes=1)
        kinds = [cell.nodes[0].name.partition("/")[0] for cell in net.cells]
        assert [i for i, kind in enumerate(kinds) if kind == "reduce"] == expected
        assert isinstance(net.cells[expected[0] + 1].preprocess0, FactorizedReduce)
        assert net.get_submodule(net.auxiliary_tap) is net.cells[2 * cells // 3]


def test_shallow_networks_have_the_cells_they_have() -> None:
    for cells, kinds in ((1, {"reduce"}), (2, {"reduce"}), (3, {"normal", "reduce"})):
        found = space.of(nets.darts(cells, 2))
        assert {c.name.partition("/")[0] for c in found.choices} == kinds
        arch = found.sample(stream(0, "x"))
        found.check(found.canonical(arch))
        assert found.simplify(arch) == arch
        assert found.decode(found.encode([arch], "graph"), "graph") == [arch]


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (1, 1, 40), (2, 7, 5), (4, 1, 1)])
@pytest.mark.parametrize("name", ["darts:cells=3,channels=3,nodes=2", "s1:cells=3,channels=3", "s4:cells=3,channels=3"])
def test_any_image_survives_two_reductions(name: str, shape: tuple[int, int, int]) -> None:
    net = nets.named(name, in_channels=shape[0], classes=6)
    with isolated(0):
        y, everything = run(net, torch.randn(2, *shape))
    assert y.shape == (2, 6)
    assert torch.isfinite(y).all()
    nodes = range(2, 2 + len(net.cells[0].nodes))
    assert everything.inputs == [(f"{t}/node{j}", j) for t in ("normal", "reduce", "reduce") for j in nodes]


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 9), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", sorted(DARTS))
def test_every_operation_keeps_channels_and_strides(name: str, stride: int, size: tuple[int, int]) -> None:
    operation = build(DARTS, name, 5, stride, False)
    y = operation(torch.randn(3, 5, *size, generator=stream(0, "x")))
    assert y.shape == (3, 5, -(-size[0] // stride), -(-size[1] // stride))
    assert torch.isfinite(y).all()


def test_operations_are_the_published_ones() -> None:
    def layers(name: str, stride: int = 1) -> list[str]:
        return [type(m).__name__ for m in build(DARTS, name, 4, stride, False).modules() if not list(m.children())]

    stack = ["ReLU", "Conv2d", "Conv2d", "BatchNorm2d"]
    assert layers("sep_conv_3x3") == stack * 2
    assert layers("dil_conv_5x5") == stack
    assert layers("max_pool_3x3") == ["MaxPool2d", "BatchNorm2d"]
    assert layers("avg_pool_3x3") == ["AvgPool2d", "BatchNorm2d"]
    assert layers("skip_connect") == ["Identity"]
    assert set(layers("skip_connect", 2)) == {"ReLU", "ZeroPad2d", "Conv2d", "BatchNorm2d"}
    dilated = build(DARTS, "dil_conv_5x5", 4, 1, False)[1]
    assert (dilated.dilation, dilated.padding, dilated.groups) == ((2, 2), (4, 4), 4)
    norms = [m for m in nets.darts(3, 2).cells.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(not m.affine and m.track_running_stats for m in norms)
    assert all(m.affine for m in nets.darts(3, 2, affine=True).modules() if isinstance(m, nn.BatchNorm2d))


def test_factorized_reduce_is_the_published_one_on_even_sides() -> None:
    reduce = FactorizedReduce(3, 5).eval()
    x = torch.randn(2, 3, 8, 6, generator=stream(0, "x"))
    active = x.relu()
    expected = reduce.norm(torch.cat([reduce.even(active), reduce.odd(active[:, :, 1:, 1:])], dim=1))
    torch.testing.assert_close(reduce(x), expected)


def test_zero_and_noise() -> None:
    x = torch.full((2, 3, 5, 5), float("inf"))
    assert torch.equal(Zero(2)(x), torch.zeros(2, 3, 3, 3))
    with isolated(3):
        first = Noise()(torch.zeros(20, 3, 16, 16))
    with isolated(3):
        assert torch.equal(first, Noise()(torch.ones(20, 3, 16, 16)))
    assert abs(float(first.mean())) < 0.05
    assert abs(float(first.std()) - 1) < 0.05


class LeafChoices(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, OneOf | SomeOf) or super().is_leaf_module(m, module_qualified_name)


@pytest.mark.parametrize("name", nets.names())
def test_networks_are_traceable(name: str) -> None:
    scale = (
        ":channels=2"
        if name in ("convnet", "grid")
        else ":cells=1,channels=2"
        if "nasbench" in name
        else ":cells=3,channels=2"
    )
    net = nets.named(name + scale, in_channels=1, classes=3)
    graph = fx.GraphModule(net, LeafChoices().trace(net))
    with isolated(0):
        x = torch.randn(2, 1, 8, 8)
        net.eval()
        graph.eval()
        if not any(isinstance(m, Noise) for m in net.modules()):
            torch.testing.assert_close(run(graph, x)[0], run(net, x)[0])


def test_initialisation_follows_the_global_generator() -> None:
    def weights(seed: int) -> list[Tensor]:
        with isolated(seed):
            return list(nets.darts_small().parameters())

    assert all(torch.equal(a, b) for a, b in zip(weights(1), weights(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(1), weights(2), strict=True))


def test_named_networks() -> None:
    net = nets.named("darts:cells=4, channels=3,nodes=2,stem_multiplier=2", in_channels=5, classes=7)
    assert len(net.cells) == 4
    assert net.stem[0].weight.shape == (6, 5, 3, 3)
    assert net.head[-1].weight.shape[0] == 7
    assert space.of(net).choices == space.darts(2).choices
    assert nets.named("nasbench201-small", in_channels=1, classes=2, affine=True).auxiliary_tap is None
    small = nets.named("darts-small", in_channels=1, classes=10)
    assert (len(small.cells), small.stem[0].out_channels) == (3, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dart", "did you mean 'darts'"),
        ("nasbench-201", "did you mean 'nasbench201'"),
        ("", "unknown net"),
        ("darts:cell=3", "did you mean 'cells'"),
        ("s2:nodes=3", "unknown key 'nodes'"),
        ("darts:classes=3", "unknown key"),
        ("darts:cells=three", "cells must be a whole number of at least 1, not 'three'"),
        ("darts:cells=0", "cells must be a whole number of at least 1, not 0"),
        ("darts:cells", "cells must be a whole number"),
        ("darts:cells=2,cells=3", "given twice"),
    ],
)
def test_wrong_names(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        nets.named(text, in_channels=3, classes=10)


def test_wrong_operations() -> None:
    with pytest.raises(UsageError, match="did you mean 'sep_conv_3x3'"):
        nets.darts(3, 2, operations=("sep_conv_3x", "skip_connect"))
    with pytest.raises(SpaceError, match="at least two"):
        nets.darts(3, 2, operations=("sep_conv_3x3",))
