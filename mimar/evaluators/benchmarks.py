"""Benchmark tables by name, as the command line writes them: "nasbench201:data=cifar100,epochs=200", "table:PATH"."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from mimar.core.errors import UsageError, nearest
from mimar.core.reading import part
from mimar.evaluators.table import Table

# name: (module of mimar.evaluators.tables, class, what it is)
BENCHMARKS = {
    "nasbench201": ("nasbench201", "NasBench201", "15,625 cells on CIFAR-10, CIFAR-100 and ImageNet16-120"),
}
OWN = "table"


def names() -> tuple[str, ...]:
    """Return the names that `named` knows."""
    return (*BENCHMARKS, OWN)


def about(name: str) -> str:
    """Return what a benchmark is, in a few words."""
    return "your own table, written by Table.save: table:PATH" if name == OWN else BENCHMARKS[name][2]


def is_benchmark(text: Any) -> bool:
    """Tell whether a task's name is that of a benchmark."""
    return isinstance(text, str) and text.partition(":")[0].strip().lower().replace("_", "-") in names()


@lru_cache(maxsize=8)
def named(text: str) -> Table:
    """Return the table that `text` names, with options after a colon; read once in a process.

    Raises UsageError for an unknown name or option (naming the nearest) and DataAbsentError where the data are not here.
    """
    name, _, rest = text.partition(":")
    name = name.strip().lower().replace("_", "-")
    if name not in names():
        raise UsageError(nearest(name, names(), kind="benchmark"))
    if name == OWN:
        if not rest:
            raise UsageError("a table of your own needs its file: table:PATH")
        return Table.load(Path(rest).expanduser())
    module, label, _ = BENCHMARKS[name]
    kind: Any = getattr(importlib.import_module(f"mimar.evaluators.tables.{module}"), label)
    table: Table = part(kind, rest, name).table()
    return table


__all__ = ["about", "is_benchmark", "named", "names"]
