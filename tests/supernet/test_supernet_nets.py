"""Every published family, at a size for tests, through the supernet's kit and the space's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mimar import nets
from mimar.core.streams import isolated, stream
from mimar.testing import check_space, check_supernet

SMALL: dict[str, dict[str, Any]] = {
    "convnet": {"channels": 2, "widths": 2},
    "nasbench201": {"cells": 1, "channels": 2},
    "nasbench201-small": {},
    "darts": {"cells": 3, "channels": 2, "nodes": 2},
    "darts-small": {"channels": 2, "nodes": 2},
    **{name: {"cells": 3, "channels": 2} for name in ("s1", "s2", "s3", "s4")},
    "sharp": {"cells": 3, "channels": 2, "nodes": 1},
    "grid": {"channels": 2, "widths": 2},
}


def built(name: str, affine: bool) -> nn.Module:
    options = ",".join(f"{k}={v}" for k, v in SMALL[name].items())
    with isolated(0):
        return nets.named(f"{name}:{options}" if options else name, in_channels=1, classes=3, affine=affine)


def test_every_family_is_here() -> None:
    assert set(SMALL) == set(nets.names())


@pytest.mark.parametrize("name", SMALL)
def test_families_obey_the_kits(name: str) -> None:
    affine = name in ("nasbench201", "darts")
    net = built(name, affine)
    x = torch.randn(2, 1, 8, 8, generator=stream(1))
    check_supernet(net, x, architectures=2 if affine else 1, smooth=affine)


@pytest.mark.parametrize("name", ["nasbench201", "s4"])
def test_spaces_of_families_obey_the_kit(name: str) -> None:
    check_space(built(name, True), samples=3)
