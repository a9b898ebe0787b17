"""The grid of widths and operations: its paths, its formula, and the networks taken out of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimar import nets, space
from mimar.core.errors import SpaceError, UsageError
from mimar.core.streams import isolated, stream
from mimar.nets.grid import GRID, Taken
from mimar.space import Architecture, Chain
from mimar.space.chains import ends
from mimar.supernet import Fused, Reference, Supernet, extract
from mimar.testing import check_space, check_supernet


def built(**options: Any) -> nn.Module:
    with isolated(0):
        return nets.grid(classes=3, in_channels=1, **options)


def test_every_layer_has_one_choice_and_paths_are_those_that_meet() -> None:
    net = nets.grid()
    found = space.of(net)
    assert [c.name for c in found.choices] == ["layer1", "layer2", "layer3"]
    assert [len(c.options) for c in found.choices] == [6, 18, 18]  # the stem has one width
    assert found["layer1"].options[:3] == ("8-8-sep3", "8-8-pool3", "8-16-sep3")
    # (widths · operations)^layers. The catalogue's 324 = 3⁴ · 2² is what four free widths and two free operations give;
    # with a stem of every width there would be 3⁴ · 2³ = 648, and this stem has one.
    assert found.size() == (3 * 2) ** 3 == 216
    free = itertools.product(*(c.options for c in found.choices))
    meeting = [p for p in free if all(a.split("-")[1] == b.split("-")[0] for a, b in itertools.pairwise(p))]
    assert [tuple(a.values()) for a in found.enumerate()] == meeting
    assert space.of(nets.grid(2, widths=2, operations=("conv3", "sep3", "pool3"))).size() == (2 * 3) ** 2


def test_words_and_wrong_ones() -> None:
    net = nets.named("grid:layers=2,channels=4,widths=2", in_channels=2, classes=5)
    assert net.widths == (4, 8) and net.stem[0].weight.shape == (4, 2, 3, 3)
    with pytest.raises(UsageError, match="did you mean 'conv3'"):
        nets.grid(operations=("conv", "sep3"))
    with pytest.raises(UsageError, match="widths must be a whole number of at least 1, not 0"):
        nets.grid(widths=0)
    with pytest.raises(SpaceError, match="at least two"):
        nets.grid(widths=1, operations=("sep3",))
    with pytest.raises(SpaceError, match="start-end"):
        ends("conv3")
    with pytest.raises(SpaceError, match="violates the constraint Chain"):
        space.of(net).check(Architecture({"layer1": "4-8-sep3", "layer2": "4-4-sep3"}))
    assert Chain(("a", "b"))({"a": "1-2-x", "b": "2-1"}) and not Chain(("a", "b"))({"a": "1-2-x", "b": "12-1"})


@pytest.mark.parametrize("engine", [Reference(), Fused()], ids=str)
def test_the_supernet_is_the_formula(engine: Any) -> None:
    net = built(channels=2, affine=True, operations=("conv3", "pool3")).double()
    rng = stream(5)
    gates = {
        c.name: torch.softmax(torch.randn(len(c.options), generator=rng, dtype=torch.float64), 0)
        for c in space.of(net).choices
    }
    x = torch.randn(3, 1, 6, 6, generator=rng, dtype=torch.float64)
    found = Supernet(net, engine=engine).call(tuple(net.parameters()), gates, x)

    h: dict[int, Tensor] = {2: net.stem(x)}  # by width: nothing stands side by side here
    for number, layer in enumerate(net.layers):
        sums: dict[int, Tensor] = {}
        for option, candidate, gate in zip(layer.options, layer.candidates, gates[layer.name], strict=True):
            c_in, c_out = map(int, option.split("-")[:2])
            y = gate * candidate[1](h[c_in])
            sums[c_out] = sums[c_out] + y if c_out in sums else y
        h = sums
        assert [t.shape[2] for t in h.values()] == [(6, 3, 3)[number]] * 3
    shares = {c: sum(g for o, g in zip(layer.options, gates["layer3"], strict=True) if f"-{c}-" in o) for c in h}
    heads = {int(o.split("-")[1]): m[-1] for o, m in zip(layer.options, layer.candidates, strict=True)}
    wanted = sum(F.linear(h[c].mean((2, 3)), heads[c].weight) + shares[c] * heads[c].bias for c in h)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def closed_form(arch: Architecture, channels: int, classes: int) -> int:
    """Parameters with affine norms: stem, operations, classifier of the last width."""
    total = 9 * channels + 2 * channels
    for option in arch.values():
        c_in, c_out, operation = option.split("-")
        i, o = int(c_in), int(c_out)
        sep = 9 * i + i * o + 2 * o + 9 * o + o * o + 2 * o
        total += {"sep3": sep, "conv3": 9 * i * o + 2 * o, "pool3": 2 * o + (i * o if i != o else 0)}[operation]
    return total + o * classes + classes


def test_a_path_has_its_own_parameters_only() -> None:
    net = built(channels=2, affine=True, operations=tuple(GRID))
    found = space.of(net)
    for number in range(20):
        arch = found.sample(stream(number))
        plain = extract(net, arch)
        assert sum(p.numel() for p in plain.parameters()) == closed_form(arch, 2, 3)
        assert not any(type(m).__module__.startswith("mimar") for m in plain.modules())


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (1, 1)])
def test_any_image_passes_and_the_middle_layer_halves_it(shape: tuple[int, int]) -> None:
    for layers in (1, 2, 4):
        net = built(layers=layers, channels=2, widths=2)
        arch = space.of(net).sample(stream(layers))
        sizes: list[tuple[int, ...]] = []
        plain = extract(net, arch)
        for module in plain.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(lambda m, i, y, sizes=sizes: sizes.append(tuple(y.shape[2:])))
        assert plain(torch.randn(2, 1, *shape, generator=stream(0))).shape == (2, 3)
        half = tuple(-(-s // 2) for s in shape)
        assert (sizes[0], sizes[-1]) == (shape, half)


def test_taken_channels() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert Taken(2, 5)(x).flatten().tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("engine", [Fused(), Reference()], ids=str)
def test_the_network_obeys_the_kit(engine: Any) -> None:
    net = built(channels=2, widths=2, affine=True, operations=("sep3", "pool3"))
    x = torch.randn(2, 1, 6, 6, generator=stream(1))
    check_supernet(net, x, build=lambda m: Supernet(m, engine=engine), architectures=2)


def test_the_space_obeys_the_kit() -> None:
    check_space(nets.grid(), samples=3)
