"""What operations tell of themselves, and that a real call runs them together."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar import OneOf, SomeOf, nets
from mimar.core.streams import isolated, stream
from mimar.kernels import native
from mimar.kernels.native import Pass
from mimar.kernels.stages import Stage, Vanishing, run_plainly
from mimar.nets.operations import DARTS, NASBENCH201, FactorizedReduce, Zero, build, sep_conv
from mimar.supernet import Fused, Reference, Supernet
from mimar.supernet.bundles import bundle

C = 4


def conv(kernel: int = 3, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(C, C, kernel, **{"padding": kernel // 2, "bias": False, **more})


def depthwise(kernel: int = 3, **more: Any) -> nn.Conv2d:
    return conv(kernel, groups=C, **more)


class Scaled(nn.Conv2d):
    """A user's class that is a convolution by inheritance only."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Told(nn.Module):
    """A user's operation that says what it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(), nn.BatchNorm2d(C)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(torch.relu(x)))

    def bundle(self) -> tuple[Any, ...]:
        return (Stage("conv", True, None, self.conv, self.norm),)


S = nn.Sequential
KNOWN: dict[str, tuple[Callable[[], nn.Module], int]] = {  # how many stages are told
    "identity": (nn.Identity, 0),
    "empty": (S, 0),
    "relu, conv, norm": (lambda: S(nn.ReLU(), conv(), nn.BatchNorm2d(C)), 1),
    "conv": (conv, 1),
    "conv, norm, conv": (lambda: S(conv(1), nn.BatchNorm2d(C), nn.ReLU(), conv(5)), 2),
    "nested": (lambda: S(S(nn.ReLU(), S(conv())), nn.Identity(), S(nn.BatchNorm2d(C, affine=False))), 1),
    "depthwise separable": (lambda: S(nn.ReLU(), depthwise(5, stride=2), conv(1), nn.BatchNorm2d(C)), 1),
    "dilated": (lambda: S(depthwise(3, padding=2, dilation=2), conv(1)), 1),
    "twice separable": (lambda: sep_conv(C, 3, 2), 2),
    "average": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), 1),
    "maximum, norm": (lambda: S(nn.MaxPool2d(3, 1, 1), nn.BatchNorm2d(C)), 1),
    "pool, then conv": (lambda: S(nn.MaxPool2d(5, 2, 2), nn.ReLU(), conv()), 2),
    "no running statistics": (lambda: S(conv(), nn.BatchNorm2d(C, momentum=None, track_running_stats=False)), 1),
    "factorized reduction": (lambda: FactorizedReduce(C, C), 1),
    "told by its class": (lambda: S(Told(), nn.ReLU(), conv()), 2),
}
UNKNOWN: dict[str, Callable[[], nn.Module]] = {
    "relu alone": nn.ReLU,
    "relu at the end": lambda: S(conv(), nn.BatchNorm2d(C), nn.ReLU()),
    "relu twice": lambda: S(nn.ReLU(), nn.ReLU(), conv()),
    "norm first": lambda: S(nn.BatchNorm2d(C), conv()),
    "norm twice": lambda: S(conv(), nn.BatchNorm2d(C), nn.BatchNorm2d(C)),
    "another activation": lambda: S(nn.LeakyReLU(), conv()),
    "noise": lambda: S(conv(), nn.Dropout(0.5)),
    "bias": lambda: conv(bias=True),
    "groups": lambda: conv(groups=2),
    "depthwise alone": depthwise,
    "depthwise, then wide": lambda: S(depthwise(), conv(3)),
    "depthwise twice": lambda: S(depthwise(), depthwise(), conv(1)),
    "even kernel": lambda: conv(2, padding=1),
    "no padding": lambda: conv(3, padding=0),
    "stride": lambda: conv(3, stride=2),
    "dilated and dense": lambda: conv(3, padding=2, dilation=2),
    "oblong": lambda: nn.Conv2d(C, C, (1, 3), padding=(0, 1), bias=False),
    "reflected": lambda: conv(padding_mode="reflect"),
    "padding in words": lambda: conv(padding="same"),
    "transposed": lambda: nn.ConvTranspose2d(C, C, 1, bias=False),
    "a convolution by inheritance": lambda: Scaled(C, C, 3, padding=1, bias=False),
    "average over the padding": lambda: nn.AvgPool2d(3, 1, 1),
    "rounded up": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "other divisor": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False, divisor_override=5),
    "dilated maximum": lambda: nn.MaxPool2d(3, 1, 2, dilation=2),
    "even pool": lambda: nn.MaxPool2d(2, 2),
    "maximum with places": lambda: nn.MaxPool2d(3, 1, 1, return_indices=True),
    "relu, then pool": lambda: S(nn.ReLU(), nn.MaxPool2d(3, 1, 1)),
    "conv, then pool": lambda: S(conv(), nn.MaxPool2d(3, 1, 1)),
    "cumulative statistics": lambda: S(conv(), nn.BatchNorm2d(C, momentum=None)),
    "another norm": lambda: S(conv(), nn.GroupNorm(2, C)),
    "a choice inside": lambda: OneOf({"a": conv(), "b": nn.Identity()}, name="inner"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_told_is_what_forward_does(name: str) -> None:
    make, stages = KNOWN[name]
    with isolated(0):
        module, x = make(), torch.randn(2, C, 7, 6)
    told = bundle(module)
    assert told.chain is not None and len(told.chain) == stages and not told.zero
    with torch.no_grad():
        assert torch.equal(run_plainly(told.chain, x), module(x))


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_told_is_left_alone(name: str) -> None:
    told = bundle(UNKNOWN[name]())
    assert told.chain is None and not told.zero


def test_any_sequence_is_told_rightly_or_not_at_all() -> None:
    """Six hundred sequences drawn from modules that an engine could mistake for one another."""
    rng = stream(0, "sequences")
    palette = [make for make, _ in KNOWN.values()] + [
        UNKNOWN[n] for n in UNKNOWN if n not in ("a choice inside", "maximum with places")
    ]
    palette += [
        nn.ReLU,
        lambda: nn.BatchNorm2d(C),
        depthwise,
        lambda: conv(1),
        lambda: conv(1, stride=2),
        lambda: Zero(1),
    ] * 3
    told = 0
    for _ in range(600):
        count = int(torch.randint(1, 5, (), generator=rng))
        with isolated(1):
            parts = [palette[int(torch.randint(len(palette), (), generator=rng))]() for _ in range(count)]
            module, x = S(*parts), torch.randn(2, C, 9, 8)
        for m in module.modules():
            if isinstance(m, nn.BatchNorm2d) and m.affine:
                nn.init.normal_(m.bias, generator=rng)
        found = bundle(module)
        if found.zero:
            assert not bool(module(x).any()) and not [*module.buffers()], module  # nothing would change, either
        elif found.chain is not None:
            told += 1
            assert torch.equal(run_plainly(found.chain, x), module(x)), module
    assert told > 30  # of them can be told


def test_an_operation_of_zeros_vanishes_only_where_its_output_does() -> None:
    assert bundle(Zero(2)).zero and bundle(S(Zero(1))).zero and bundle(S(nn.Identity(), Zero(1))).zero
    assert bundle(S(nn.ReLU(), Zero(1))).zero
    assert not bundle(S(Zero(1), nn.BatchNorm2d(C))).zero  # gives the norm's bias
    assert not bundle(S(Zero(1), conv(bias=True))).zero
    assert not bundle(S(nn.BatchNorm2d(C), Zero(1))).zero  # moves the norm's statistics
    assert isinstance(Zero(1).bundle()[0], Vanishing)


def test_hooks_are_seen_wherever_they_are_and_whenever_they_come() -> None:
    module = sep_conv(C, 3)
    told = bundle(module)
    assert not any(told.hooks)
    for place, register in itertools.product(
        (module, module[1], module[7]), ("forward", "forward_pre", "full_backward")
    ):
        handle = getattr(place, f"register_{register}_hook")(lambda *_: None)
        assert any(told.hooks)
        handle.remove()
        assert not any(told.hooks)


# --- whole networks ---------------------------------------------------------------------------------------------------


def options(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for choice in model.modules():
        if isinstance(choice, OneOf):
            yield from zip(choice.options, choice.candidates, strict=True)


@pytest.mark.parametrize("table", [DARTS, NASBENCH201], ids=["darts", "nasbench201"])
def test_published_operations_are_told(table: Any) -> None:
    strides = (1, 2) if table is DARTS else (1,)
    made = {(name, s): bundle(build(table, name, 8, s, False)) for name in table for s in strides if name != "noise"}
    assert [key for key, told in made.items() if told.chain is None and not told.zero] == []
    assert bundle(build(DARTS, "noise", 8, 1, False)).chain is None


FAMILIES = {
    "darts": "darts:cells=8,channels=4",
    "darts-small": "darts-small",
    "nasbench201": "nasbench201:cells=5,channels=4",
    "nasbench201-small": "nasbench201-small",
}


class Watched:
    """Which options of a model are called on their own, and which passes the compiled kernels run."""

    def __init__(self, model: nn.Module, patch: pytest.MonkeyPatch) -> None:
        self.all = {id(m) for _, m in options(model)}
        self.alone: set[int] = set()
        self.passes: list[Pass] = []
        call, execute = nn.Module.__call__, native.execute

        def called(module: nn.Module, *x: Any, **more: Any) -> Any:
            self.alone |= {id(module)} & self.all
            return call(module, *x, **more)

        def executed(words: array[int], what: Pass) -> None:
            self.passes.append(what)
            execute(words, what)

        patch.setattr(nn.Module, "__call__", called)
        patch.setattr(native, "execute", executed)

    @property
    def together(self) -> float:
        return 1 - len(self.alone) / len(self.all)


def step(model: nn.Module, engine: Any) -> Tensor:
    net = Supernet(model, engine=engine)
    gates = {c.name: torch.full((len(c.options),), 0.3, requires_grad=True) for c in net.space.choices}
    y = net.call(net.weights, gates, torch.randn(2, 3, 16, 16, generator=stream(0)))
    torch.autograd.grad(y.square().sum(), [*net.weights, *gates.values()], allow_unused=True)
    return y.detach()


@pytest.mark.skipif(native.compiled() is None, reason="the compiled kernels were not built")
@pytest.mark.parametrize("name", FAMILIES)
def test_at_least_95_percent_of_the_options_run_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with isolated(0):
        model = nets.named(FAMILIES[name], in_channels=3, classes=3)
    told = [bundle(m) for _, m in options(model)]
    assert sum(t.chain is not None or t.zero for t in told) >= 0.95 * len(told)
    watched = Watched(model, monkeypatch)
    found = step(model, Fused())
    nodes = sum(isinstance(m, SomeOf) for m in model.modules()) or 3 * sum(
        type(m).__name__ == "Cell" for m in model.modules()
    )
    assert watched.together >= 0.95
    assert watched.passes.count(Pass.FORWARD) == watched.passes.count(Pass.BACKWARD) >= nodes
    watched.passes.clear()
    wanted = step(model, Reference())
    assert watched.together == 0.0 and not watched.passes  # the measure can fail
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(native.compiled() is None, reason="the compiled kernels were not built")
def test_one_unknown_option_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    own = S(nn.SiLU(), conv())
    model = S(
        OneOf({"conv": S(nn.ReLU(), conv(), nn.BatchNorm2d(C)), "own": own, "skip": nn.Identity()}, name="c"),
        nn.Flatten(),
    )
    watched = Watched(model, monkeypatch)
    net, gates = Supernet(model), {"c": torch.tensor([0.2, 0.3, 0.5])}
    net.call(net.weights, gates, torch.randn(2, C, 5, 5))
    assert watched.alone == {id(own)} and watched.passes == [Pass.FORWARD]
