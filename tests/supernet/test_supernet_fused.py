"""Fused execution beside the reference: every net, type and mode; where it steps back; what it must not remember."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar import OneOf, SomeOf, nets
from mimar.core.errors import UsageError
from mimar.core.streams import isolated, stream
from mimar.evaluators import Retrain
from mimar.kernels import memory, native
from mimar.kernels.native import Pass
from mimar.kernels.programs import IN, SOURCE
from mimar.recipes import darts_1st, idarts
from mimar.supernet import Fused, Reference, Supernet, fused
from mimar.tasks import arrays
from mimar.testing import check_supernet
from mimar.testing.expect import same_bits
from mimar.testing.supernet import _agrees_with_reference

built = pytest.mark.skipif(native.compiled() is None, reason="the compiled kernels were not built")
ENGINES = {
    "reference": Reference(),
    "fused": Fused(),
    "recomputed": Fused(recompute=True),
    "budget": Fused(budget=1e-5),
}
BOTH = (torch.float64, torch.float32)

# --- models of all kinds ----------------------------------------------------------------------------------------------


def block(channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(channels))


def depthwise(channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    wide = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    return nn.Sequential(wide, nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))


def body(channels: int, name: str = "body") -> OneOf:
    pool = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.BatchNorm2d(channels, affine=False))
    options = {"conv1": block(channels, 1), "conv3": block(channels, 3), "depthwise": depthwise(channels, 5)}
    return OneOf({**options, "pool": pool, "skip": nn.Identity()}, name=name)


def headed(*parts: nn.Module, inputs: int = 2, channels: int = 5) -> nn.Module:
    stem = nn.Conv2d(inputs, channels, 3, padding=1)
    return nn.Sequential(stem, *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))


class Swish(nn.Module):
    """An operation that no engine knows, with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.3))

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.slope, 1.0, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.slope * x)


def unknown() -> OneOf:
    own = nn.Sequential(nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5), Swish())
    return OneOf({"own": own, "swish": Swish(), "conv": block(5, 3), "skip": nn.Identity()}, name="own")


class Partial(nn.Module):
    """Partial channels as in PC-DARTS: a quarter of them is mixed, the others pass by, and all are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixed, self.part = body(channels // 4, "partial"), channels // 4

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.mixed(x[:, : self.part]), x[:, self.part :]], dim=1)
        b, c, h, w = y.shape
        return y.view(b, 4, c // 4, h, w).transpose(1, 2).reshape(b, c, h, w)


class Node(nn.Module):
    """A sum of edges, of which two have the same input, after a first choice of the same name as one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.before = body(5, "edge")
        edges = {"0": body(5, "edge"), "1": body(5, "other"), "2": depthwise(5, 3), "3": nn.Identity()}
        self.node = SomeOf(edges, k=2, name="node")

    def forward(self, x: Tensor) -> Tensor:
        y = self.before(x)
        return self.node([y, y, x, y])


def shared() -> nn.Module:
    """One module in two options and, alone, after them; a choice inside an option; a convolution of stride 2."""
    common = block(5, 3)
    inner = nn.Sequential(block(5, 1), OneOf({"a": block(5, 3), "b": nn.Identity()}, name="inner"))
    choice = OneOf({"one": common, "two": nn.Sequential(common, block(5, 1)), "deep": inner}, name="outer")
    halving = OneOf({"a": depthwise(5, 3, 2), "b": nn.MaxPool2d(3, 2, 1), "c": nn.AvgPool2d(3, 2, 1)}, name="halving")
    return nn.Sequential(choice, common, halving)


def noisy() -> nn.Module:
    options = {"conv": block(5, 3), "drop": nn.Sequential(block(5, 3), nn.Dropout(0.3)), "skip": nn.Identity()}
    return nn.Sequential(OneOf(options, name="a"), nn.Dropout(0.2), OneOf(copy.deepcopy(options), name="b"))


USERS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: headed(body(5), nn.BatchNorm2d(5), nn.ReLU(), body(5, "again")),
    "unknown operation": lambda: headed(unknown()),
    "partial channels": lambda: headed(Partial(20), channels=20),
    "shared and nested": lambda: headed(shared()),
    "noise": lambda: headed(noisy()),
}


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with isolated(0):
        return make()


def pictures(*shape: int) -> Tensor:
    return torch.randn(shape, generator=stream(1))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", USERS)
def test_models_of_users_obey_the_kit(name: str, engine: str) -> None:
    build = partial(Supernet, engine=ENGINES[engine])
    dtypes = BOTH if engine == "fused" else () if engine == "reference" else BOTH[:1]
    check_supernet(made(USERS[name]), pictures(3, 2, 5, 4), build=build, architectures=2, smooth=False, dtypes=dtypes)


SHAPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "odd sides": ("darts-small:channels=3,nodes=2", (2, 2, 7, 5)),
    "one picture": ("nasbench201-small:channels=5", (1, 2, 12, 11)),
    "many channels": ("darts:cells=1,channels=20,nodes=2,stem_multiplier=1", (2, 2, 6, 6)),
    "one pixel": ("darts-small:channels=3,nodes=2", (6, 2, 1, 1)),
    "edges of cells": ("nasbench201:cells=2,channels=3", (2, 2, 9, 7)),
    "one column": ("nasbench201-small:channels=5", (4, 2, 6, 1)),
    "s1": ("s1:cells=3,channels=3", (2, 2, 5, 7)),
    "s4": ("s4:cells=3,channels=2", (2, 2, 7, 5)),
}


def example(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a model of users or a net by its name above, with the shape of its input."""
    if name in USERS:
        return made(USERS[name]), (3, 2, 5, 4)
    net, shape = SHAPES[name]
    affine = name in ("many channels", "one column")
    return made(lambda: nets.named(net, in_channels=2, classes=3, affine=affine)), shape


@pytest.mark.parametrize("name", SHAPES)
def test_odd_shapes_agree_with_the_reference(name: str) -> None:
    model, shape = example(name)
    _agrees_with_reference(model, (pictures(*shape),), Supernet, BOTH, 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_input_that_stands_twice_in_one_sum(engine: str) -> None:
    build = partial(Supernet, engine=ENGINES[engine])
    _agrees_with_reference(made(lambda: headed(Node())), (pictures(3, 2, 5, 4),), build, BOTH, 0)


@built
@pytest.mark.parametrize("name", [*USERS, *SHAPES])
def test_gradients_summed_in_one_buffer_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tensors are summed by autograd; here every size goes the way of the large ones, and does go it."""
    added, execute = [], native.execute

    def spy(words: Any, what: Pass) -> None:
        at = range(len(IN), len(IN) + len(SOURCE) * words[IN["sources"]], len(SOURCE))
        added.extend(words[i + SOURCE["add"]] for i in at if what in (Pass.BACKWARD, Pass.TANGENT_BACKWARD))
        execute(words, what)

    monkeypatch.setattr(fused, "SMALL", 0)
    monkeypatch.setattr(native, "execute", spy)
    model, shape = example(name)
    _agrees_with_reference(model, (pictures(*shape),), Supernet, BOTH, 0)
    assert any(added) == (name in (*SHAPES, "plain", "partial channels"))  # elsewhere every source has one reader


@pytest.mark.parametrize("name", [*USERS, "odd sides", "edges of cells"])
def test_without_the_library_they_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was compiled the options still run together, in torch."""
    monkeypatch.setattr(native, "compiled", lambda: None)
    monkeypatch.setattr(native, "execute", None)
    model, shape = example(name)
    _agrees_with_reference(model, (pictures(*shape),), Supernet, BOTH[:1], 0)


@pytest.mark.parametrize("engine", [Fused(recompute=True), Fused(budget=1e-5)], ids=["recomputed", "budget"])
def test_recomputation_changes_no_bit(engine: Fused) -> None:
    model = made(lambda: nets.named("darts-small:channels=4,nodes=2", in_channels=2, classes=3))
    assert all(map(same_bits, *(measured(model, e) for e in (engine, Fused()))))


def measured(model: nn.Module, engine: Any, *, training: bool = True) -> list[Tensor]:
    """Return output, buffers, gradient and one product with the second derivative, of a call at mixed gates."""
    net = Supernet(model, engine=engine)
    gates = {c.name: torch.linspace(0.2, 0.9, len(c.options)).requires_grad_() for c in net.space.choices}
    y, after = net.call(net.weights, gates, pictures(3, 2, 8, 6), training=training, rng=stream(0), update=True)
    inputs = [*net.weights, *gates.values()]
    slopes = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
    return [y.detach(), *after, *slopes, *torch.autograd.grad(sum(s.square().sum() for s in slopes), inputs)]


def test_memory_is_given_back_and_recomputation_holds_less() -> None:
    model = made(lambda: headed(body(16), body(16, "b"), body(16, "c"), channels=16))
    held = {}
    gc.collect()
    before = memory.POOL.used
    for name, engine in ENGINES.items():
        net = Supernet(model, engine=engine)
        gates = {c.name: torch.rand(len(c.options), requires_grad=True) for c in net.space.choices}
        y = net.call(net.weights, gates, pictures(8, 2, 16, 16))
        held[name] = memory.POOL.used - before
        torch.autograd.grad(y.sum(), net.weights)
        del y
        gc.collect()
        assert memory.POOL.used == before
    assert held["reference"] == 0
    if native.compiled() is not None:
        assert held["recomputed"] <= held["budget"] < held["fused"]


def test_the_budget_is_checked() -> None:
    with pytest.raises(UsageError, match="at least 0"):
        Fused(budget=-1.0)


# --- searches ---------------------------------------------------------------------------------------------------------


def toy() -> Any:
    """Four classes of pictures (1, 6, 6): which row is bright."""
    rng = stream(0, "toy")
    y = torch.arange(96) % 4
    x = 0.4 * torch.randn(96, 1, 6, 6, generator=rng)
    x[torch.arange(96), 0, y + 1, :] += 1.5
    return arrays(x, y)


def searched() -> nn.Module:
    """A model whose search is well conditioned: the published ones turn rounding into other alphas within a few steps."""
    ends = (nn.AdaptiveAvgPool2d((6, 1)), nn.Flatten(), nn.Linear(36, 4))
    middle = [nn.BatchNorm2d(6), nn.ReLU()]
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), body(6), *middle, body(6, "again"), *middle, *ends)


SEARCHES: dict[str, tuple[Callable[..., Any], Any, int]] = {
    "darts-1st": (darts_1st.recipe, searched, 4),
    "idarts": (idarts.recipe, searched, 4),
    "idarts on darts": (idarts.recipe, "darts-small:channels=4,nodes=2", 2),
    "idarts on nasbench201": (idarts.recipe, "nasbench201-small:channels=4", 2),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_the_same_seed_finds_the_same_architecture(name: str) -> None:
    recipe, net, epochs = SEARCHES[name]
    ends = []
    for engine in (Fused(), Reference()):
        more = {"net": net if isinstance(net, str) else made(net), "retrain": Retrain(epochs=1, batch=16)}
        search = replace(recipe(task=toy(), epochs=epochs, batch=16, baseline=0, **more), engine=engine)
        ends.append(search.start())
        for _ in search.events(ends[-1]):
            pass
    ours, theirs = ends
    assert ours.json["trained"][0]["architecture"] == theirs.json["trained"][0]["architecture"]
    assert ours.json["supernet"]["entropy_after"] < 0.9  # of 1: the gates have moved
    for key in (key for key in ours.tensors if key.startswith("alphas/")):
        torch.testing.assert_close(ours.tensors[key], theirs.tensors[key], rtol=1e-3, atol=1e-3)
