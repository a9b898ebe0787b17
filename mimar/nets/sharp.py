"""The DARTS network with the operations of sharpDARTS."""

from __future__ import annotations

from torch import nn

from mimar.nets.darts import darts
from mimar.nets.sharp_operations import SHARP

# The 3×3 list of the authors' release, in its order (read there; the paper names the operations only).
SHARP_OPERATIONS = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", *SHARP)


def sharp(
    cells: int = 8,
    channels: int = 16,
    classes: int = 10,
    in_channels: int = 3,
    *,
    nodes: int = 4,
    stem_multiplier: int = 3,
    partial: int = 1,
    nested: int = 0,
    affine: bool = False,
) -> nn.Module:
    """Return the DARTS network whose edges choose among `SHARP_OPERATIONS`: separable convolutions of three widths, all 3×3.

    Differs from the release in the narrow convolutions (see `mimar.nets.sharp_operations`), and keeps DARTS' strided
    1×1 convolutions before a cell that follows a reduction. Source: Hundt, Jain, Hager, "sharpDARTS", 2019.
    """
    return darts(
        cells,
        channels,
        classes,
        in_channels,
        nodes=nodes,
        stem_multiplier=stem_multiplier,
        partial=partial,
        nested=nested,
        affine=affine,
        operations=SHARP_OPERATIONS,
    )
