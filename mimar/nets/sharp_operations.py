"""Separable convolutions with a free width in the middle (SharpSepConv), under the names of sharpDARTS.

    ReLU, depthwise k×k (stride, dilation), pointwise C → M, BN, ReLU, depthwise k×k, pointwise M → C, BN

M = C: sep and dil; M = 4C: flood (wide); M = min(32, C/2): choke (narrow). The release has M = 32 for every choke, which
at C = 16 is wide instead; ours is the same from C = 64 on. Source: Hundt, Jain, Hager, 2019; checked against the release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

FLOOD, CHOKE = 4, 32


def sharp_conv(
    widths: tuple[int, int, int], kernel: int, stride: int = 1, dilation: int = 1, *, affine: bool = False
) -> nn.Sequential:
    """Return two pairs of depthwise and pointwise convolution; `widths`: before, between and after the pairs.

    Shapes: (B, before, H, W) to (B, after, ⌈H/stride⌉, ⌈W/stride⌉). The second pair has stride and dilation 1.
    """
    before, middle, after = widths
    half = kernel // 2
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(before, before, kernel, stride, dilation * half, dilation, groups=before, bias=False),
        nn.Conv2d(before, middle, 1, bias=False),
        nn.BatchNorm2d(middle, affine=affine),
        nn.ReLU(),
        nn.Conv2d(middle, middle, kernel, padding=half, groups=middle, bias=False),
        nn.Conv2d(middle, after, 1, bias=False),
        nn.BatchNorm2d(after, affine=affine),
    )


def flood(channels: int) -> int:
    """Return the width in the middle of a flood convolution."""
    return FLOOD * channels


def choke(channels: int) -> int:
    """Return the width in the middle of a choke convolution: narrower than `channels` where that can be."""
    return min(CHOKE, max(1, channels // 2))


# dil_conv_3x3 of the release has two pairs; DARTS' operation of that name has one, so ours is called dil_sep_conv_3x3.
# Its sep_conv_3x3 is DARTS' own.
SHARP: Mapping[str, Callable[[int, int, bool], nn.Module]] = {
    "dil_sep_conv_3x3": lambda c, s, a: sharp_conv((c, c, c), 3, s, 2, affine=a),
    "flood_conv_3x3": lambda c, s, a: sharp_conv((c, flood(c), c), 3, s, affine=a),
    "dil_flood_conv_3x3": lambda c, s, a: sharp_conv((c, flood(c), c), 3, s, 2, affine=a),
    "choke_conv_3x3": lambda c, s, a: sharp_conv((c, choke(c), c), 3, s, affine=a),
    "dil_choke_conv_3x3": lambda c, s, a: sharp_conv((c, choke(c), c), 3, s, 2, affine=a),
}
