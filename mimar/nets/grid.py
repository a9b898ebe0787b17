"""A grid of widths and operations: in each layer the widths in and out and the operation are one decision.

    h_{l+1}[c_out] = Σ_{c_in, op} p_l[c_in, c_out, op] · op(h_l[c_in])

Shapes: h (B, ΣC, H, W), the maps of all widths side by side; an option reads the channels of its width and writes those of
another one, with zeros elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from torch import Tensor, nn

from mimar.core.errors import UsageError, nearest
from mimar.nets.operations import check_counts, first, relu_conv_bn
from mimar.nets.sharp_operations import sharp_conv
from mimar.space import Chain, OneOf

Operation = Callable[[int, int, int, bool], nn.Module]  # (inputs, outputs, stride, affine)


def _pool(inputs: int, outputs: int, stride: int, affine: bool) -> nn.Sequential:
    fit = [] if inputs == outputs else [nn.Conv2d(inputs, outputs, 1, bias=False)]
    return nn.Sequential(nn.MaxPool2d(3, stride, 1), *fit, nn.BatchNorm2d(outputs, affine=affine))


# The release has sep3 and pool3, the pool without a norm where the width stays.
GRID: Mapping[str, Operation] = {
    "sep3": lambda i, o, s, a: sharp_conv((i, o, o), 3, s, affine=a),
    "pool3": _pool,
    "conv3": lambda i, o, s, a: relu_conv_bn(i, o, 3, s, affine=a),
}


class Taken(nn.Module):
    """The channels `start` to `stop` of the input."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, stop − start, H, W)."""
        return x[:, self.start : self.stop]


class Network(nn.Module):
    """Stem of the least width, layers of which the middle one halves the resolution, mean and a classifier for each width.

    The classifiers are part of the last layer's options: mean and classifier are linear, so that their mixture is the
    classifier of the mixture, and a path carries its own one alone.
    """

    auxiliary_tap: str | None = None

    def __init__(
        self, layers: int, widths: Sequence[int], ends: tuple[int, int], operations: Sequence[str], affine: bool
    ) -> None:
        super().__init__()
        in_channels, classes = ends
        self.widths, self.affine = tuple(widths), affine
        names = tuple(f"layer{number}" for number in range(1, layers + 1))
        self.space_constraints = (Chain(names),)
        stem = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(widths[0]))
        heads = {width: nn.Linear(width, classes) for width in widths}
        self.layers = nn.Sequential()
        for number, name in enumerate(names):
            options: dict[str, nn.Module] = {}
            for c_in in widths if number else widths[:1]:
                for c_out in widths:
                    for operation in operations:
                        step = GRID[operation](c_in, c_out, 2 if number == layers // 2 else 1, affine)
                        reads = Taken(*self._place(c_in)), step
                        end = self._placed(c_out) if name != names[-1] else _classified(heads[c_out])
                        options[f"{c_in}-{c_out}-{operation}"] = nn.Sequential(*reads, *end)
            self.layers.append(OneOf(options, name=name))

    def _place(self, width: int) -> tuple[int, int]:
        stop = dict(zip(self.widths, accumulate(self.widths), strict=True))[width]
        return stop - width, stop

    def _placed(self, width: int) -> tuple[nn.Module, ...]:
        start, stop = self._place(width)
        return (nn.ConstantPad3d((0, 0, 0, 0, start, sum(self.widths) - stop), 0.0),)  # pads (C, H, W)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, in_channels, H, W)."""
        return self.layers(first(self.stem, x))


def _classified(head: nn.Linear) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), head


def grid(
    layers: int = 3,
    channels: int = 8,
    classes: int = 10,
    in_channels: int = 1,
    *,
    widths: int = 3,
    affine: bool = False,
    operations: Sequence[str] = ("sep3", "pool3"),
) -> nn.Module:
    """Return the grid of `layers` layers over the widths C, 2C, 4C, … (`widths` of them, C = `channels`).

    One choice a layer, ``layer1`` to ``layerL``, with the options "in-out-operation", such as "8-16-sep3": a softmax of its
    alphas is one over widths in, widths out and operations. Constraint: a layer takes the width that the one before it
    leaves. The space has (widths · operations)^layers paths; `Space` counts and samples those of the default up to five
    layers. Differs from the release in its stem, which has one width instead of all, in one halving instead of one each
    second layer, and in the classifier of each width, which there is a convolution to a common width. Raises UsageError on
    counts below 1 and unknown operations. Source: Hundt, Jain, Hager, "sharpDARTS" (HyperCuboid), 2019.
    """
    check_counts(layers=layers, channels=channels, classes=classes, in_channels=in_channels, widths=widths)
    for name in operations:
        if name not in GRID:
            raise UsageError(nearest(name, GRID, kind="operation"))
    return Network(layers, [channels * 2**i for i in range(widths)], (in_channels, classes), operations, affine)
