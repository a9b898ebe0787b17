"""A plain chain of convolutions, in which every place may be empty, and whose networks can grow out of one another.

    h_{p+1}[: out] = Σ_{in, out, kernel} gate · ReLU(BN(conv(h_p[: in])))   and, where a place is empty, h_p[: w]

Shapes: h (B, C, H, W) with C the largest width; an option reads the first channels and writes the first ones, with zeros
behind them. Maps are never negative, so that a convolution that is the identity keeps what a network computes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mimar.nets.grid import Taken
from mimar.nets.operations import check_counts, first
from mimar.nets.transform import Inheritance
from mimar.space import Chain, OneOf
from mimar.space.chains import SKIP

KERNELS = (3, 5)


class Network(nn.Module):
    """Stem of the least width, stages of places with a pooling between them, mean and classifier of the largest width.

    `inheritance` says how a network of this model takes its weights from a smaller one; None without affine norms, which
    cannot become the identity.
    """

    auxiliary_tap: str | None = None

    def __init__(self, stages: int, depth: int, widths: Sequence[int], ends: tuple[int, int], affine: bool) -> None:
        super().__init__()
        in_channels, classes = ends
        self.widths, self.affine = tuple(widths), affine
        names = tuple(f"layer{number}" for number in range(1, stages * depth + 1))
        self.space_constraints = (Chain(names),)
        self.inheritance = Inheritance(names) if affine else None
        stem = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(widths[0]), nn.ReLU(), *self._padded(widths[0]))
        self.layers = nn.Sequential()
        for number, name in enumerate(names):
            if number and number % depth == 0:
                self.layers.append(nn.MaxPool2d(2, ceil_mode=True))
            options: dict[str, nn.Module] = {}
            for c_in in widths if number else widths[:1]:
                for c_out in (c for c in widths if c >= c_in):
                    for kernel in KERNELS:
                        options[f"{c_in}-{c_out}-conv{kernel}"] = self._convolution(c_in, c_out, kernel)
                options[f"{c_in}-{c_in}-{SKIP}"] = nn.Sequential(Taken(0, c_in), *self._padded(c_in))
            self.layers.append(OneOf(options, name=name))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))

    def _padded(self, width: int) -> tuple[nn.Module, ...]:
        return (nn.ConstantPad3d((0, 0, 0, 0, 0, self.widths[-1] - width), 0.0),)  # pads (C, H, W)

    def _convolution(self, c_in: int, c_out: int, kernel: int) -> nn.Sequential:
        conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)
        norm = nn.BatchNorm2d(c_out, affine=self.affine)
        return nn.Sequential(Taken(0, c_in), conv, norm, nn.ReLU(), *self._padded(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, in_channels, H, W)."""
        y: Tensor = self.head(self.layers(first(self.stem, x)))
        return y


def convnet(
    stages: int = 2,
    depth: int = 2,
    channels: int = 8,
    classes: int = 10,
    in_channels: int = 1,
    *,
    widths: int = 3,
    affine: bool = False,
) -> nn.Module:
    """Return the plain chain of `stages` stages of `depth` places over the widths C, 2C, 4C, … (`widths` of them, C = `channels`).

    One choice a place, ``layer1`` to ``layerL``, with the options "in-out-conv3" and "in-out-conv5" (in ≤ out) and
    "width-width-skip", an empty place. Constraint: a place takes the width that the one before it leaves. `Space`
    samples a chain of any length, and counts those of up to five places. Raises UsageError on counts below 1. Source: the
    chains of Cai et al., "Efficient architecture search by network transformation", 2018, with one pooling between stages
    and one linear layer as a head.
    """
    check_counts(stages=stages, depth=depth, channels=channels, classes=classes, in_channels=in_channels, widths=widths)
    return Network(stages, depth, [channels * 2**i for i in range(widths)], (in_channels, classes), affine)
