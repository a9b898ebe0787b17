"""Operations of the published cell spaces.

Each function returns a plain torch module from (B, C, H, W) to (B, C, ⌈H/stride⌉, ⌈W/stride⌉), odd and one-pixel sides
included. Where torch has no such module a small class of ours stands in, whose `forward` torch.fx can trace. Batch-norm
has no affine part in a supernet (`affine=False`), so that an operation's scale cannot stand in for its gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mimar.core.errors import UsageError, nearest
from mimar.kernels.stages import Stage, Vanishing
from mimar.nets.sharp_operations import SHARP
from mimar.space.modules import total

Operation = Callable[[int, int, bool], nn.Module]  # (channels, stride, affine)


def first(stem: nn.Module, x: Tensor) -> Tensor:
    """Return stem(x) of images (B, C, H, W) with the channels last, the layout in which convolutions are fast."""
    y = total([stem], [x.contiguous(memory_format=torch.channels_last)])
    return y.contiguous(memory_format=torch.channels_last)


def relu_conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, *, affine: bool = False) -> nn.Sequential:
    """Return ReLU, convolution, batch-norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(outputs, affine=affine))


def sep_conv(channels: int, kernel: int, stride: int = 1, *, affine: bool = False) -> nn.Sequential:
    """Return twice ReLU, depthwise and pointwise convolution, batch-norm; the stride is in the first."""
    return nn.Sequential(
        *_depthwise_stack(channels, kernel, stride, 1, affine),
        *_depthwise_stack(channels, kernel, 1, 1, affine),
    )


def dil_conv(channels: int, kernel: int, stride: int = 1, *, affine: bool = False) -> nn.Sequential:
    """Return ReLU, depthwise convolution of dilation 2, pointwise convolution, batch-norm."""
    return nn.Sequential(*_depthwise_stack(channels, kernel, stride, 2, affine))


def _depthwise_stack(channels: int, kernel: int, stride: int, dilation: int, affine: bool) -> tuple[nn.Module, ...]:
    padding = dilation * (kernel // 2)
    return (
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


class FactorizedReduce(nn.Module):
    """Halve the resolution by two strided 1×1 convolutions, the second one on the image shifted by a pixel.

    The shift pads with zeros at the far end, which even sides never see; odd and one-pixel sides work because of it.
    """

    def __init__(self, inputs: int, outputs: int, *, affine: bool = False) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.shift = nn.ZeroPad2d((0, 1, 0, 1))
        self.even = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, ⌈H/2⌉, ⌈W/2⌉)."""
        x = self.relu(x)
        shifted = self.shift(x)[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))

    def bundle(self) -> tuple[Stage, ...]:
        """Return what `forward` does, as a stage."""
        return (Stage("phases", True, self.even, self.odd, self.norm, stride=2),)


class Zero(nn.Module):
    """Zeros in the shape of the strided input."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, ⌈H/stride⌉, ⌈W/stride⌉)."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])

    def bundle(self) -> tuple[nn.Module, ...]:
        """Return what a mixture needs to know of it: it adds nothing."""
        return (Vanishing(),)


class Noise(nn.Module):
    """Standard normal noise in the shape of the strided input, whatever the input is; torch's global generator draws it."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, ⌈H/stride⌉, ⌈W/stride⌉)."""
        return torch.randn_like(x[:, :, :: self.stride, :: self.stride])


def _pool(pool: nn.Module, channels: int, affine: bool) -> nn.Sequential:
    return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=affine))


def _skip(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)


# Liu, Simonyan, Yang, "DARTS", ICLR 2019 (supernet form: pools carry a batch-norm); noise: Zela et al., ICLR 2020.
DARTS: Mapping[str, Operation] = {
    "none": lambda c, s, a: Zero(s),
    "noise": lambda c, s, a: Noise(s),
    "max_pool_3x3": lambda c, s, a: _pool(nn.MaxPool2d(3, s, 1), c, a),
    "avg_pool_3x3": lambda c, s, a: _pool(nn.AvgPool2d(3, s, 1, count_include_pad=False), c, a),
    "skip_connect": _skip,
    "sep_conv_3x3": lambda c, s, a: sep_conv(c, 3, s, affine=a),
    "sep_conv_5x5": lambda c, s, a: sep_conv(c, 5, s, affine=a),
    "dil_conv_3x3": lambda c, s, a: dil_conv(c, 3, s, affine=a),
    "dil_conv_5x5": lambda c, s, a: dil_conv(c, 5, s, affine=a),
    **SHARP,
}

# Dong, Yang, "NAS-Bench-201", ICLR 2020: inside a cell the stride is always 1.
NASBENCH201: Mapping[str, Operation] = {
    "none": lambda c, s, a: Zero(s),
    "skip_connect": _skip,
    "nor_conv_1x1": lambda c, s, a: relu_conv_bn(c, c, 1, s, affine=a),
    "nor_conv_3x3": lambda c, s, a: relu_conv_bn(c, c, 3, s, affine=a),
    "avg_pool_3x3": lambda c, s, a: nn.AvgPool2d(3, s, 1, count_include_pad=False),
}


def build(operations: Mapping[str, Operation], name: str, channels: int, stride: int, affine: bool) -> nn.Module:
    """Return the operation called `name`; raises UsageError, naming the nearest one, when there is none."""
    if name not in operations:
        raise UsageError(nearest(name, operations, kind="operation"))
    return operations[name](channels, stride, affine)


def check_counts(**counts: int) -> None:
    """Raise UsageError unless every count is an integer of at least 1."""
    for name, count in counts.items():
        if type(count) is not int or count < 1:
            raise UsageError(f"{name} must be a whole number of at least 1, not {count!r}")
