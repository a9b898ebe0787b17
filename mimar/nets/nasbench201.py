"""The NAS-Bench-201 network with choices: three stages of cells, a residual block between stages."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mimar.nets.operations import NASBENCH201, build, check_counts, first, relu_conv_bn
from mimar.nets.partial import Partial, check_parts
from mimar.nets.untied import Untied, check_nested
from mimar.space import NASBENCH201_EDGES, NASBENCH201_OPERATIONS, NasBench201, OneOf, Structure, total

PREFIX = "cell"
KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}


class Cell(nn.Module):
    """Four nodes; a node is the sum of one operation on each earlier node."""

    def __init__(self, channels: int, affine: bool, name: str = PREFIX, partial: int = 1) -> None:
        super().__init__()
        self.edges = nn.ModuleList()
        for i, j in NASBENCH201_EDGES:
            options = {o: build(NASBENCH201, o, channels // partial, 1, affine) for o in NASBENCH201_OPERATIONS}
            self.edges.append(OneOf(options, name=f"{name}/{i}-{j}"))
        self.partial = Partial(channels, partial) if partial > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the last node, of the shape of `x`."""
        if self.partial is not None:
            return self._partly(self.partial, x)
        nodes, edges = [x], list(self.edges)
        for j in (1, 2, 3):
            nodes.append(total(edges[:j], nodes))
            edges = edges[j:]
        return nodes[3]

    def _partly(self, partial: Partial, x: Tensor) -> Tensor:
        edges, order = list(self.edges), partial.order(x)
        taken: list[Tensor] = []
        passed: list[Tensor] = []
        for j in (1, 2, 3):
            for parts, part in zip((taken, passed), partial.cut(x, order), strict=True):
                parts.append(part)
            x = partial.mended(total(edges[:j], taken), sum(passed[1:], start=passed[0]), order)
            edges = edges[j:]
        return x


class Residual(nn.Module):
    """The benchmark's ResNet basic block of stride 2: twice ReLU-conv-BN beside average pooling and a 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            relu_conv_bn(inputs, outputs, 3, 2, affine=True),
            relu_conv_bn(outputs, outputs, 3, 1, affine=True),
        )
        # The published pool is AvgPool2d(2, 2); rounding up differs on odd sides only, where that one does not fit the body.
        pool = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
        self.shortcut = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, ⌈H/2⌉, ⌈W/2⌉)."""
        return total([self.shortcut, self.body[1]], [x, self.body[0](x)])


class Network(nn.Module):
    """Stem, stages at C, 2C and 4C channels with residual blocks between them, batch-norm, ReLU, mean, classifier."""

    auxiliary_tap: str | None = None

    def __init__(
        self, depth: int, channels: int, ends: tuple[int, int], *, affine: bool, partial: int, nested: int
    ) -> None:
        super().__init__()
        in_channels, classes = ends
        names = [f"{PREFIX}{i}" if nested else PREFIX for i in range(3 * depth)]
        tied: Structure = NasBench201(PREFIX)
        self.space_structure = Untied(tuple((name, PREFIX, tied) for name in names)) if nested else tied
        self.stem = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        body: list[nn.Module] = []
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                body.append(Residual(width // 2, width))
            body += [Cell(width, affine, name, partial) for name in names[stage * depth : (stage + 1) * depth]]
        self.body = nn.Sequential(*body)
        self.head = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, in_channels, H, W)."""
        return self.head(self.body(first(self.stem, x)))


def nasbench201(
    cells: int = 5,
    channels: int = 16,
    classes: int = 10,
    in_channels: int = 3,
    *,
    affine: bool = False,
    partial: int = 1,
    nested: int = 0,
) -> nn.Module:
    """Return the NAS-Bench-201 network with choices, `cells` cells in each of three stages.

    The six choices ``cell/i-j`` are shared by all cells. With ``affine=True`` a chosen network has exactly the published
    number of parameters; batch-norm outside of cells is affine always, as published. `partial`=K: every edge chooses on
    1/K of its channels (`mimar.nets.Partial`), in the same space. `nested`=1: every cell has choices of its own, named
    by its number from the stem: ``cell0/i-j``. Raises UsageError on counts below 1 and a K that does not divide the
    channels. Source: Dong, Yang, ICLR 2020.
    """
    check_counts(cells=cells, channels=channels, classes=classes, in_channels=in_channels)
    check_parts(partial, channels)
    check_nested(nested)
    return Network(cells, channels, (in_channels, classes), affine=affine, partial=partial, nested=nested)


def nasbench201_small(
    cells: int = 1,
    channels: int = 8,
    classes: int = 10,
    in_channels: int = 1,
    *,
    affine: bool = False,
    partial: int = 1,
    nested: int = 0,
) -> nn.Module:
    """Return the NAS-Bench-201 network at the scale of small images: one cell a stage, eight channels."""
    return nasbench201(cells, channels, classes, in_channels, affine=affine, partial=partial, nested=nested)


def nasbench201_params(
    arch: Mapping[str, str], cells: int = 5, channels: int = 16, classes: int = 10, in_channels: int = 3
) -> int:
    """Return the number of parameters of a chosen network with affine batch-norm, in closed form.

    A k×k operation at width c has k²c² + 2c parameters; a residual block from c to 2c has 9·2c² + 9·4c² + 2c² + 8c.
    """
    check_counts(cells=cells, channels=channels, classes=classes, in_channels=in_channels)
    kernels = [KERNELS[operation] for operation in arch.values() if operation in KERNELS]
    total = 9 * in_channels * channels + 2 * channels  # stem
    for stage in range(3):
        c = channels * 2**stage
        total += cells * sum(k * k * c * c + 2 * c for k in kernels)
        if stage < 2:
            total += 56 * c * c + 8 * c
    return total + 8 * channels + 4 * channels * classes + classes
