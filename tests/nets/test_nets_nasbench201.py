"""The NAS-Bench-201 network: parameters of the table, shapes, and what simplification does to its function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mimar import nets, space
from mimar.core.errors import UsageError
from mimar.core.streams import stream
from mimar.space import EXECUTION, Architecture, OneOf, SomeOf

ALL = list(space.nasbench201().enumerate())


class Chosen:
    """An execution that runs the options of one architecture."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch

    def one(self, choice: OneOf, x: tuple[Tensor, ...]) -> Tensor:
        return choice.candidates[choice.options.index(self.arch[choice.name])](*x)

    def some(self, choice: SomeOf, xs: Tensor | Sequence[Tensor]) -> Tensor:
        raise AssertionError("NAS-Bench-201 has no SomeOf")


def run(net: nn.Module, arch: Architecture, x: Tensor) -> Tensor:
    token = EXECUTION.set(Chosen(arch))
    try:
        return net(x)
    finally:
        EXECUTION.reset(token)


def chosen_params(net: nn.Module, arch: Architecture) -> int:
    """Parameters of everything outside choices plus those of the chosen candidates."""
    inside: set[int] = set()
    total = 0
    for module in net.modules():
        if isinstance(module, OneOf):
            inside |= {id(p) for p in module.parameters()}
            total += sum(p.numel() for p in module.candidates[module.options.index(arch[module.name])].parameters())
    return total + sum(p.numel() for p in net.parameters() if id(p) not in inside)


@pytest.fixture(scope="module")
def params(needs_data: Callable[[str], Path]) -> np.ndarray:
    return np.load(needs_data("nas/nasbench201.npz"))["params"]


def test_formula_equals_the_table(params: np.ndarray) -> None:
    for row, classes in zip(params, (10, 100, 120), strict=True):
        assert [nets.nasbench201_params(arch, classes=classes) for arch in ALL] == row.tolist()


def test_built_networks_equal_the_table(params: np.ndarray) -> None:
    net = nets.nasbench201(affine=True)
    for i in torch.randperm(len(ALL), generator=stream(0, "params"))[:50].tolist():
        assert chosen_params(net, ALL[i]) == params[0, i]


def test_extracted_networks_equal_the_table(params: np.ndarray) -> None:
    supernet = pytest.importorskip("mimar.supernet")
    net = nets.nasbench201(affine=True)
    for i in torch.randperm(len(ALL), generator=stream(1, "params"))[:3].tolist():
        assert sum(p.numel() for p in supernet.extract(net, ALL[i]).parameters()) == params[0, i]


@pytest.mark.parametrize("sizes", [(1, 4, 7, 1), (2, 6, 3, 2), (3, 5, 10, 3)])
def test_formula_at_other_sizes(sizes: tuple[int, int, int, int]) -> None:
    net = nets.nasbench201(*sizes, affine=True)
    for arch in ALL[:20]:
        assert nets.nasbench201_params(arch, *sizes) == chosen_params(net, arch)


def test_space_of_the_network() -> None:
    found = space.of(nets.nasbench201(cells=1, channels=2))
    assert found.choices == space.nasbench201().choices
    assert found.layout == "nasbench201"
    assert next(found.enumerate()) == ALL[0]
    assert found.size() == 15_625


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (1, 1, 40), (2, 7, 5), (4, 1, 1)])
def test_any_image_survives_two_reductions(shape: tuple[int, int, int]) -> None:
    net = nets.nasbench201(1, 4, 6, shape[0])
    widths = []
    for module in net.body:
        module.register_forward_hook(lambda m, x, y: widths.append(tuple(y.shape[1:])))
    x = torch.randn(3, *shape, generator=stream(0, "image"))
    y = run(net, ALL[0], x)
    assert y.shape == (3, 6)
    assert torch.isfinite(y).all()
    h, w = shape[1:]
    halves = [(4, h, w), (8, (h + 1) // 2, (w + 1) // 2), (16, (h + 3) // 4, (w + 3) // 4)]
    assert widths == [halves[0], halves[1], halves[1], halves[2], halves[2]]


def test_cell_computes_its_definition() -> None:
    net = nets.nasbench201(1, 4, 6, 4)
    net.eval()
    cell = net.body[0]
    edges = {module.name: module for module in cell.modules() if isinstance(module, OneOf)}
    x = torch.randn(2, 4, 5, 5, generator=stream(0, "x"))
    for arch in ALL[10:20]:
        ops = {name.removeprefix("cell/"): m.candidates[m.options.index(arch[name])] for name, m in edges.items()}
        first = ops["0-1"](x)
        second = ops["0-2"](x) + ops["1-2"](first)
        expected = ops["0-3"](x) + ops["1-3"](first) + ops["2-3"](second)
        torch.testing.assert_close(run(cell, arch, x), expected)


def test_simplified_cells_are_the_same_function() -> None:
    cells = space.nasbench201()
    net = nets.nasbench201(1, 2, 6, 1).double()
    x = torch.randn(4, 1, 8, 8, generator=stream(0, "x"), dtype=torch.float64)
    changed = [arch for arch in ALL if cells.simplify(arch) != arch][:200:20]
    for mode in (False, True):  # training changes running statistics, which then belong to other architectures
        net.train(mode)
        for arch in changed:
            torch.testing.assert_close(run(net, arch, x), run(net, cells.simplify(arch), x))


@pytest.mark.parametrize("key", ["cells", "channels", "classes", "in_channels"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True])
def test_counts_are_checked(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{key} must be a whole number of at least 1"):
        nets.nasbench201(**{key: value})
