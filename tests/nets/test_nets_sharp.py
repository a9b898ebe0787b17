"""Separable convolutions of sharpDARTS: what they are made of, and the DARTS network with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mimar import nets, space
from mimar.core.streams import isolated, stream
from mimar.nets.operations import DARTS, build
from mimar.nets.sharp import SHARP_OPERATIONS
from mimar.nets.sharp_operations import SHARP, choke, flood, sharp_conv
from mimar.supernet import Fused, Reference, Supernet
from mimar.supernet.bundles import bundle
from mimar.testing import check_space, check_supernet


def middle(name: str, channels: int) -> int:
    return flood(channels) if "flood" in name else choke(channels) if "choke" in name else channels


@pytest.mark.parametrize("channels", [1, 2, 16, 128])
@pytest.mark.parametrize("name", SHARP)
def test_operations_are_two_pairs_of_which_the_first_has_stride_and_dilation(name: str, channels: int) -> None:
    found = build(DARTS, name, channels, 2, True)
    kinds = [type(m).__name__ for m in found]
    assert kinds == ["ReLU", "Conv2d", "Conv2d", "BatchNorm2d"] * 2
    (first, out, norm), (second, back, _) = found[1:4], found[5:]
    wide, dilation = middle(name, channels), 2 if name.startswith("dil_") else 1
    assert (first.groups, out.out_channels, second.groups, back.out_channels) == (channels, wide, wide, channels)
    assert (first.stride, first.dilation, first.padding) == ((2, 2), (dilation,) * 2, (dilation,) * 2)
    assert (second.stride, second.dilation, second.padding) == ((1, 1), (1, 1), (1, 1))
    assert norm.affine and not build(DARTS, name, channels, 2, False)[3].affine
    weights = sum(p.numel() for m in found if isinstance(m, nn.Conv2d) for p in m.parameters())
    assert weights == 9 * channels + channels * wide + 9 * wide + wide * channels


def test_flood_is_wide_and_choke_is_narrow() -> None:
    assert [flood(c) for c in (8, 16)] == [32, 64]
    assert [choke(c) for c in (1, 2, 8, 16, 32, 64, 128)] == [1, 1, 4, 8, 16, 32, 32]  # published: 32 always


def test_sep_conv_of_the_release_is_that_of_darts() -> None:
    ours, theirs = sharp_conv((4, 4, 4), 3, 2), build(DARTS, "sep_conv_3x3", 4, 2, False)
    assert str(ours) == str(theirs)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_widths_before_and_after_are_free(stride: int, size: tuple[int, int]) -> None:
    y = sharp_conv((3, 7, 5), 3, stride, 2)(torch.randn(2, 3, *size, generator=stream(0)))
    assert y.shape == (2, 5, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize("name", SHARP)
def test_the_engine_can_tell_what_they_do(name: str) -> None:
    chain = bundle(build(DARTS, name, 8, 2, False)).chain
    assert chain is not None and [(s.relu, s.kernel, s.stride) for s in chain] == [(True, 3, 2), (True, 3, 1)]
    assert [s.dense.out_channels for s in chain] == [middle(name, 8), 8]


def built(options: str, affine: bool) -> nn.Module:
    with isolated(0):
        return nets.named(f"sharp:{options}", in_channels=1, classes=3, affine=affine)


def test_the_space_has_the_operations_of_the_release() -> None:
    found = space.of(nets.sharp(3, 2))
    assert found.choices == space.darts(operations=SHARP_OPERATIONS).choices
    assert len(SHARP_OPERATIONS) == 9 and found["normal/0-2"].never == ("none",)


@pytest.mark.parametrize("engine", [Fused(), Reference()], ids=str)
def test_the_network_obeys_the_kits(engine: Any) -> None:
    net = built("cells=3,channels=2,nodes=1", True)
    x = torch.randn(2, 1, 8, 8, generator=stream(1))
    check_supernet(net, x, build=lambda m: Supernet(m, engine=engine), architectures=2, dtypes=(torch.float64,))


def test_the_space_obeys_the_kit() -> None:
    check_space(built("cells=3,channels=4,nodes=2", False), samples=3)
