"""The words in which an operation says what it does, so that many of them can run together.

An operation is a chain of stages, each [relu,] convolution or pooling [, batch norm]; an empty chain is the identity.

    conv       depthwise k×k (stride, dilation), then a dense q×q of stride 1; either may be missing, not both
    phases     pixels (2i, 2j) through the 1×1 `depthwise`, pixels (2i+1, 2j+1) through the 1×1 `dense`, joined: halves the sides
    average    the mean over the k×k window inside the picture          maximum: the largest value there

Stages refer to the modules that own the weights: their parameters stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Vanishing(nn.Module):
    """Stands in the bundle of an operation for zeros in the shape of its output: it adds nothing to a mixture."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of a chain on (B, C, H, W), with padding so that a stride of 1 keeps H and W."""

    kind: Literal["conv", "average", "maximum", "phases"]
    relu: bool = False
    depthwise: nn.Conv2d | None = None
    dense: nn.Conv2d | None = None
    norm: nn.BatchNorm2d | None = None
    kernel: int = 0  # of the depthwise convolution or the pool
    stride: int = 1
    dilation: int = 1

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The modules that own weights or statistics."""
        return tuple(m for m in (self.depthwise, self.dense, self.norm) if m is not None)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (role, tensor) of every parameter, in a fixed order."""
        for role, (held, name) in zip(self.roles, self.places(), strict=True):
            yield role, held[name]

    @property
    def roles(self) -> tuple[str, ...]:
        """What each parameter is for, in the order of `weights`."""
        pairs = (("kernel", self.depthwise), ("matrix", self.dense))
        affine = self.norm is not None and self.norm.affine
        return tuple(role for role, m in pairs if m is not None) + (("gamma", "beta") if affine else ())

    def places(self) -> list[tuple[dict, str]]:
        """Return where each parameter is held, in the order of `weights`: whatever stands there at a call is used."""
        found = [(m._parameters, "weight") for m in (self.depthwise, self.dense) if m is not None]
        if self.norm is not None and self.norm.affine:
            found += [(self.norm._parameters, "weight"), (self.norm._parameters, "bias")]
        return found

    @property
    def batch(self) -> bool:
        """Whether the norm takes its statistics from the batch."""
        return self.norm is not None and (self.norm.training or self.norm.running_mean is None)


Chain = tuple[Stage, ...]


def conv_size(side: int, stride: int) -> int:
    """Return the side of the output: ⌈side / stride⌉."""
    return -(-side // stride)


def run_plainly(chain: Chain, x: Tensor) -> Tensor:
    """The twin: a chain in pure torch, stage after stage. Differentiable any number of times; updates running statistics."""
    for s in chain:
        x = torch.relu(x) if s.relu else x
        if s.kind == "conv":
            for conv in (s.depthwise, s.dense):
                x = conv(x) if conv is not None else x
        elif s.kind == "phases":
            assert s.depthwise is not None and s.dense is not None
            x = torch.cat([s.depthwise(x), s.dense(F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:])], dim=1)
        elif s.kind == "average":
            x = F.avg_pool2d(x, s.kernel, s.stride, s.dilation * (s.kernel // 2), count_include_pad=False)
        else:
            x = F.max_pool2d(x, s.kernel, s.stride, s.dilation * (s.kernel // 2), s.dilation)
        x = s.norm(x) if s.norm is not None else x
    return x
