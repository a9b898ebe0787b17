"""The chain that networks grow in: its paths, its parameters, its mixture, and the networks taken out of it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from mimar import nets, space
from mimar.core.errors import UsageError
from mimar.core.streams import isolated, stream
from mimar.space import Architecture
from mimar.supernet import Fused, Reference, Supernet, extract
from mimar.testing import check_space, check_supernet


def built(**options: Any) -> nn.Module:
    with isolated(0):
        return nets.convnet(classes=3, in_channels=1, **options)


def test_a_place_has_every_convolution_that_does_not_narrow_and_one_that_is_empty() -> None:
    found = space.of(nets.convnet())
    assert [c.name for c in found.choices] == ["layer1", "layer2", "layer3", "layer4"]
    assert found["layer1"].options == (
        *("8-8-conv3", "8-8-conv5", "8-16-conv3", "8-16-conv5", "8-32-conv3", "8-32-conv5"),
        "8-8-skip",
    )
    assert len(found["layer2"].options) == 15
    # 3 ways to keep a width and 2 to widen it: entries of the first row of (3 I + N)^4, N strictly upper, all 2
    step = torch.tensor([[3, 2, 2], [0, 3, 2], [0, 0, 3]])
    assert found.size() == int(torch.linalg.matrix_power(step.double(), 4)[0].sum()) == 729
    meeting = [
        p
        for p in itertools.product(*(c.options for c in found.choices))
        if all(a.split("-")[1] == b.split("-")[0] for a, b in itertools.pairwise(p))
    ]
    assert [tuple(a.values()) for a in found.enumerate()] == meeting


def test_words_and_wrong_ones() -> None:
    net = nets.named("convnet:stages=3,depth=1,channels=4,widths=2", in_channels=2, classes=5, affine=True)
    assert net.widths == (4, 8) and net.stem[0].weight.shape == (4, 2, 3, 3)
    assert net.inheritance.names == ("layer1", "layer2", "layer3")
    assert nets.named("convnet", in_channels=2, classes=5).inheritance is None  # norms without scale and shift
    with pytest.raises(UsageError, match="depth must be a whole number of at least 1, not 0"):
        nets.convnet(depth=0)


def closed_form(arch: Architecture, channels: int, widest: int, classes: int) -> int:
    """Parameters with affine norms: stem, convolutions, classifier."""
    total = 9 * channels + 2 * channels + widest * classes + classes
    for option in arch.values():
        c_in, c_out, kind = option.split("-")
        total += 0 if kind == "skip" else int(kind[-1]) ** 2 * int(c_in) * int(c_out) + 2 * int(c_out)
    return total


def test_a_path_has_its_own_parameters_only() -> None:
    net = built(channels=2, affine=True)
    for number in range(20):
        arch = space.of(net).sample(stream(number))
        plain = extract(net, arch)
        assert sum(p.numel() for p in plain.parameters()) == closed_form(arch, 2, 8, 3)
        assert not any(type(m).__module__.startswith("mimar") for m in plain.modules())


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (1, 1)])
def test_any_image_passes_and_maps_are_never_negative(shape: tuple[int, int]) -> None:
    net = built(channels=2, stages=3, depth=1)
    arch = Architecture({"layer1": "2-4-conv5", "layer2": "4-4-skip", "layer3": "4-4-conv3"})
    plain, maps = extract(net, arch), []
    plain.layers.register_forward_hook(lambda m, i, y: maps.append(y))
    assert plain(torch.randn(2, 1, *shape, generator=stream(0))).shape == (2, 3)
    (y,) = maps
    quarter = tuple(math.ceil(s / 4) for s in shape)
    assert y.shape == (2, 8, *quarter) and (y >= 0).all() and not y[:, 4:].any()


@pytest.mark.parametrize("engine", [Fused(), Reference()], ids=str)
def test_the_network_obeys_the_kit(engine: Any) -> None:
    net = built(channels=2, widths=2, stages=2, depth=1, affine=True)
    x = torch.randn(2, 1, 6, 6, generator=stream(1))
    check_supernet(net, x, build=lambda m: Supernet(m, engine=engine), architectures=2)


def test_the_space_obeys_the_kit() -> None:
    check_space(nets.convnet(), samples=3)
