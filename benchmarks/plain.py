"""The search networks as published code runs them, for comparison only: one operation after the other, NCHW, torch alone.

FROZEN. Every ratio in `results/` is against this file; it is never made faster or slower. `tests/benchmarks` shows that
its loss and its gradients equal those of mimar's networks under the same weights, which `share` copies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def relu_conv_bn(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, affine: bool = False) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(outputs, affine=affine))


def depthwise(channels: int, kernel: int, stride: int, dilation: int) -> list[nn.Module]:
    pad = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, pad, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=False),
    ]


class Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x.mul(0.0) if self.stride == 1 else x[:, :, :: self.stride, :: self.stride].mul(0.0)


class FactorizedReduce(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], dim=1))


class Mixed(nn.Module):
    """The mixture of all operations on one edge: Σ_o g_o · o(x)."""

    def __init__(self, operations: list[nn.Module]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operations)

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        return sum(g * operation(x) for g, operation in zip(gates, self.operations, strict=True))  # type: ignore[return-value]


def darts_edge(c: int, stride: int) -> Mixed:
    def norm() -> nn.Module:
        return nn.BatchNorm2d(c, affine=False)

    return Mixed(
        [
            Zero(stride),
            nn.Sequential(nn.MaxPool2d(3, stride, 1), norm()),
            nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), norm()),
            nn.Identity() if stride == 1 else FactorizedReduce(c, c),
            nn.Sequential(*depthwise(c, 3, stride, 1), *depthwise(c, 3, 1, 1)),
            nn.Sequential(*depthwise(c, 5, stride, 1), *depthwise(c, 5, 1, 1)),
            nn.Sequential(*depthwise(c, 3, stride, 2)),
            nn.Sequential(*depthwise(c, 5, stride, 2)),
        ]
    )


class DartsCell(nn.Module):
    def __init__(self, before: int, last: int, c: int, halved: bool, halves: bool) -> None:
        super().__init__()
        self.preprocess0 = FactorizedReduce(before, c) if halved else relu_conv_bn(before, c)
        self.preprocess1 = relu_conv_bn(last, c)
        self.edges = nn.ModuleList(darts_edge(c, 2 if halves and i < 2 else 1) for j in range(4) for i in range(j + 2))

    def forward(self, s0: Tensor, s1: Tensor, gates: Tensor) -> Tensor:
        states, offset = [self.preprocess0(s0), self.preprocess1(s1)], 0
        for _ in range(4):
            states.append(sum(self.edges[offset + i](s, gates[offset + i]) for i, s in enumerate(states)))  # type: ignore[arg-type]
            offset += len(states) - 1
        return torch.cat(states[2:], dim=1)


class Darts(nn.Module):
    """DARTS, eight cells; gates: (14, 8) of the normal cells and of the reduction cells."""

    def __init__(self, cells: int = 8, channels: int = 16, classes: int = 10, images: int = 3) -> None:
        super().__init__()
        stem = 3 * channels
        self.stem = nn.Sequential(nn.Conv2d(images, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.cells, self.reduction = nn.ModuleList(), []
        before, last, halved = stem, stem, False
        for i in range(cells):
            halves = i in (cells // 3, 2 * cells // 3)
            channels *= 2 if halves else 1
            self.cells.append(DartsCell(before, last, channels, halved, halves))
            self.reduction.append(halves)
            before, last, halved = last, 4 * channels, halves
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor, normal: Tensor, reduce: Tensor) -> Tensor:
        s0 = s1 = self.stem(x)
        for cell, halves in zip(self.cells, self.reduction, strict=True):
            s0, s1 = s1, cell(s0, s1, reduce if halves else normal)
        return self.classifier(s1.mean((2, 3)))


def nasbench_edge(c: int) -> Mixed:
    return Mixed(
        [
            Zero(1),
            nn.Identity(),
            relu_conv_bn(c, c, 1),
            relu_conv_bn(c, c, 3),
            nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        ]
    )


class NasBenchCell(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(nasbench_edge(c) for _ in range(6))

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        states, offset = [x], 0
        for _ in range(3):
            states.append(sum(self.edges[offset + i](s, gates[offset + i]) for i, s in enumerate(states)))  # type: ignore[arg-type]
            offset += len(states) - 1
        return states[-1]


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = relu_conv_bn(inputs, outputs, 3, 2, affine=True)
        self.second = relu_conv_bn(outputs, outputs, 3, 1, affine=True)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(self.first(x))


class NasBench201(nn.Module):
    """NAS-Bench-201, five cells a stage; gates: (6, 5)."""

    def __init__(self, cells: int = 5, channels: int = 16, classes: int = 10, images: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(images, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.body = nn.ModuleList()
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                self.body.append(Residual(width // 2, width))
            self.body += [NasBenchCell(width) for _ in range(cells)]
        self.norm, self.classifier = nn.BatchNorm2d(width), nn.Linear(width, classes)

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        x = self.stem(x)
        for part in self.body:
            x = part(x, gates) if isinstance(part, NasBenchCell) else part(x)
        return self.classifier(torch.relu(self.norm(x)).mean((2, 3)))


def share(plain: nn.Module, model: nn.Module) -> None:
    """Copy the weights of mimar's network into the plain one: both list them in the same order."""
    ours, theirs = list(model.parameters()), list(plain.parameters())
    assert [p.shape for p in ours] == [p.shape for p in theirs], "the plain network is another one"
    with torch.no_grad():
        for mine, its in zip(ours, theirs, strict=True):
            its.copy_(mine)
