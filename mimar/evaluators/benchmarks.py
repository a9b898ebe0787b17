"""Benchmark tables by name, as the command line writes them: "nasbench201:data=cifar100,epochs=200", "table:PATH"."""

from __future__ import annotations

import dataclasses
import importlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from mimar.core.errors import DataAbsentError, UsageError, nearest
from mimar.core.reading import part
from mimar.evaluators.table import Table

# name: (module of mimar.evaluators.tables, class); what they are is said in mimar.tasks.naming
BENCHMARKS = {
    "nasbench201": ("nasbench201", "NasBench201"),
    "nasbench-macro": ("nasbench_macro", "NasBenchMacro"),
    "nasbench-graph": ("nasbench_graph", "NasBenchGraph"),
    "spikenas": ("spikenas", "SpikeNas"),
    "nas-bench-nlp": ("nas_bench_nlp", "NasBenchNlp"),
    "ec-nas": ("ec_nas", "EcNas"),
    "fcnet": ("fcnet", "FcNet"),
    "nats-bench": ("nats_bench", "NatsBench"),
    "nasbench201-pth": ("nats_bench", "NasBench201File"),
    "nasbench101": ("nasbench101", "NasBench101"),
}
OWN = "table"


def names() -> tuple[str, ...]:
    """Return the names that `named` knows."""
    return (*BENCHMARKS, OWN)


def is_benchmark(text: Any) -> bool:
    """Tell whether a task's name is that of a benchmark."""
    return isinstance(text, str) and text.partition(":")[0].strip().lower().replace("_", "-") in names()


def named(text: str) -> Table:
    """Return the table that `text` names, with options after a colon; read once in a process, unless its file changes.

    Raises UsageError for an unknown name or option (naming the nearest) and DataAbsentError where the data are not here.
    """
    name, _, rest = text.partition(":")
    name = name.strip().lower().replace("_", "-")
    if name not in names():
        raise UsageError(nearest(name, names(), kind="benchmark"))
    if name != OWN:
        return _published(name, rest, os.environ.get("MIMAR_DATA"))
    path = Path(rest).expanduser()
    if not rest:
        raise UsageError("a table of your own needs its file: table:PATH")
    if not path.is_file():
        raise DataAbsentError(f"there is no table {path}")
    now = path.stat()  # clocks of files tick slowly: a file replaced within a tick is another inode
    return _own(path, (now.st_mtime_ns, now.st_ino, now.st_size))


@lru_cache(maxsize=8)
def _own(path: Path, _written: tuple[int, ...]) -> Table:
    return Table.load(path)


@lru_cache(maxsize=8)
def _published(name: str, rest: str, _data: str | None) -> Table:
    module, label = BENCHMARKS[name]
    kind: Any = getattr(importlib.import_module(f"mimar.evaluators.tables.{module}"), label)
    needed = next((f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING), None)
    if needed is not None and needed not in [word.partition("=")[0].strip() for word in rest.split(",")]:
        raise UsageError(f"{name} reads an original file of yours: {name}:{needed}=PATH")
    table: Table = part(kind, rest, name).table()
    return table


__all__ = ["is_benchmark", "named", "names"]
