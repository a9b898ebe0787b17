"""Tasks: data, loss and measures behind one protocol. Importing this room loads no data and no library that reads it.

`digits()` is the default; `named("cifar10-packed:size=16")` is how the command line asks. See `mimar.tasks.protocol`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mimar.tasks import locate
from mimar.tasks.naming import about, info, named, names

if TYPE_CHECKING:
    from mimar.tasks.augment import Augment
    from mimar.tasks.cifar import Cifar10 as cifar10
    from mimar.tasks.cifar import Cifar10Packed as cifar10_packed
    from mimar.tasks.embedded import Digits as digits
    from mimar.tasks.fashion import FashionMnist as fashion_mnist
    from mimar.tasks.fetch import fetch as download
    from mimar.tasks.folders import Folder as folder
    from mimar.tasks.memory import arrays
    from mimar.tasks.protocol import Batch, BoundTask, Measure, Task
    from mimar.tasks.signals import Mnist1d as mnist1d

# public name: (module, name there); the modules need torch and come with their first use
_LATER = {
    "Augment": ("augment", "Augment"),
    "Batch": ("protocol", "Batch"),
    "BoundTask": ("protocol", "BoundTask"),
    "Measure": ("protocol", "Measure"),
    "Task": ("protocol", "Task"),
    "arrays": ("memory", "arrays"),
    "cifar10": ("cifar", "Cifar10"),
    "cifar10_packed": ("cifar", "Cifar10Packed"),
    "digits": ("embedded", "Digits"),
    "download": ("fetch", "fetch"),
    "fashion_mnist": ("fashion", "FashionMnist"),
    "folder": ("folders", "Folder"),
    "mnist1d": ("signals", "Mnist1d"),
}

__all__ = [
    "Augment",
    "Batch",
    "BoundTask",
    "Measure",
    "Task",
    "about",
    "arrays",
    "cifar10",
    "cifar10_packed",
    "digits",
    "download",
    "fashion_mnist",
    "folder",
    "info",
    "locate",
    "mnist1d",
    "named",
    "names",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LATER[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
