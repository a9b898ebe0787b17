"""Networks with choices: the published cell spaces, at any width, depth and image size."""

from __future__ import annotations

from mimar.nets.darts import darts, darts_small, s1, s2, s3, s4
from mimar.nets.names import named, names
from mimar.nets.nasbench201 import nasbench201, nasbench201_params, nasbench201_small

__all__ = [
    "darts",
    "darts_small",
    "named",
    "names",
    "nasbench201",
    "nasbench201_params",
    "nasbench201_small",
    "s1",
    "s2",
    "s3",
    "s4",
]
