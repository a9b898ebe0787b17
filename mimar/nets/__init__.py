"""Networks with choices: the published cell spaces, at any width, depth and image size."""

from __future__ import annotations

from mimar.nets.binary import BinaryConv2d
from mimar.nets.convnet import convnet
from mimar.nets.darts import darts, darts_small, s1, s2, s3, s4
from mimar.nets.grid import grid
from mimar.nets.names import named, names
from mimar.nets.nasbench201 import nasbench201, nasbench201_params, nasbench201_small
from mimar.nets.partial import Partial
from mimar.nets.remodel import Binary, Nested, PartialChannels, Remodel, Same, Sparse
from mimar.nets.sharp import sharp
from mimar.nets.sparse import SparseConv2d, SparseLinear, inherit_scores

__all__ = [
    "Binary",
    "BinaryConv2d",
    "Nested",
    "Partial",
    "PartialChannels",
    "Remodel",
    "Same",
    "Sparse",
    "SparseConv2d",
    "SparseLinear",
    "convnet",
    "darts",
    "darts_small",
    "grid",
    "inherit_scores",
    "named",
    "names",
    "nasbench201",
    "nasbench201_params",
    "nasbench201_small",
    "s1",
    "s2",
    "s3",
    "s4",
    "sharp",
]
