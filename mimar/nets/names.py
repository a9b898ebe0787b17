"""Networks by name, as words of a command line: ``darts:cells=3,channels=8``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from torch import nn

from mimar.core.errors import UsageError, nearest
from mimar.nets.convnet import convnet
from mimar.nets.darts import darts, darts_small, s1, s2, s3, s4
from mimar.nets.grid import grid
from mimar.nets.nasbench201 import nasbench201, nasbench201_small
from mimar.nets.sharp import sharp

FAMILIES: Mapping[str, Callable[..., nn.Module]] = {
    "convnet": convnet,
    "darts": darts,
    "darts-small": darts_small,
    "grid": grid,
    "nasbench201": nasbench201,
    "nasbench201-small": nasbench201_small,
    "s1": s1,
    "s2": s2,
    "s3": s3,
    "s4": s4,
    "sharp": sharp,
}
GIVEN = ("classes", "in_channels", "affine", "operations")  # decided by the task or by code, not by words


def names() -> tuple[str, ...]:
    """Return the names that `named` knows."""
    return tuple(FAMILIES)


def named(text: str, *, in_channels: int, classes: int, affine: bool = False, **more: int) -> nn.Module:
    """Return the network called ``name`` or ``name:key=number,key=number``; raises UsageError on anything unknown.

    `more`: further keys, such as a remodelling asks for; UsageError where the words say something else.
    """
    name, _, rest = text.strip().partition(":")
    if name not in FAMILIES:
        raise UsageError(nearest(name, FAMILIES, kind="net"))
    known = [key for key in inspect.signature(FAMILIES[name]).parameters if key not in GIVEN]
    options: dict[str, int] = {}
    for word in filter(None, rest.split(",")):
        key, equals, value = (part.strip() for part in word.partition("="))
        if key not in known:
            raise UsageError(f"net {name!r}: " + nearest(key, known, kind="key"))
        if key in options:
            raise UsageError(f"net {name!r}: the key {key!r} is given twice")
        if not equals or not value.isdecimal():
            raise UsageError(f"net {name!r}: {key} must be a whole number of at least 1, not {value!r}")
        options[key] = int(value)
    for key, number in more.items():
        if key not in known:
            raise UsageError(f"net {name!r}: " + nearest(key, known, kind="key"))
        if options.setdefault(key, number) != number:
            raise UsageError(
                f"net {name!r}: {key}={options[key]} in its words contradicts {key}={number}, asked for here"
            )
    return FAMILIES[name](in_channels=in_channels, classes=classes, affine=affine, **options)
