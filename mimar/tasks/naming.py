"""Tasks by name, as the command line writes them: "digits", "cifar10-packed:size=16,limit=2000", "folder:PATH"."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mimar.core.errors import DataAbsentError, UsageError, nearest
from mimar.tasks import locate

if TYPE_CHECKING:
    from mimar.tasks.protocol import Task

# name: (module, class, what it is); the modules need torch and are imported when a task is made
_TASKS = {
    "digits": ("embedded", "Digits", "1,797 handwritten digits, 8×8 grey, 10 classes"),
    "fashion-mnist": ("fashion", "FashionMnist", "70,000 clothes, 28×28 grey, 10 classes"),
    "cifar10": ("cifar", "Cifar10", "60,000 photographs, 32×32 colour, 10 classes"),
    "cifar10-packed": ("cifar", "Cifar10Packed", "12,000 photographs of CIFAR-10 as JPEG, 32×32 colour, 10 classes"),
    "mnist1d": ("signals", "Mnist1d", "5,000 generated signals of 40 samples, 10 classes"),
    "folder": ("folders", "Folder", "your own images, one folder a class"),
}

# Benchmark tables answer black-box searches without training; mimar.evaluators.benchmarks reads them.
_TABLES = {
    "nasbench201": "table: 15,625 cells on CIFAR-10, CIFAR-100 and ImageNet16-120",
    "nasbench-macro": "table: 6,561 chains of eight layers on CIFAR-10",
    "nasbench-graph": "table: 26,206 graph neural networks on four citation graphs",
    "spikenas": "table: learning curves of 15,625 spiking cells on CIFAR-10",
    "nas-bench-nlp": "table: learning curves of 289 recurrent cells on WikiText-2",
    "ec-nas": "table: 2,532 cells of five vertices on CIFAR-10, with measured energy",
    "fcnet": "table: 62,208 settings of a two-layer network on two regressions",
    "nats-bench": "table of your folder NATS-tss-v1_0-3ffb9-simple: nats-bench:folder=PATH",
    "nasbench201-pth": "table of your file NAS-Bench-201-v1_1-096897.pth: nasbench201-pth:file=PATH",
    "nasbench101": "table of your file nasbench_only108.tfrecord: nasbench101:file=PATH",
    "table": "your own table, a CSV file or one written by Table.save: table:PATH",
}


def names() -> tuple[str, ...]:
    """Return the names that `named` knows, the default first."""
    return tuple(_TASKS)


def tables() -> tuple[str, ...]:
    """Return the names of benchmark tables."""
    return tuple(_TABLES)


def about(name: str) -> str:
    """Return what a task or table is, in a few words."""
    name = _known(name, {**_TASKS, **_TABLES})
    return _TABLES[name] if name in _TABLES else _TASKS[name][2]


def info(name: str) -> str:
    """Return one sentence: where the data of a task or table were found, or how to get them. Reads and downloads nothing."""
    name = _known(name, {**_TASKS, **_TABLES})
    if name == "folder":
        return "folder: your own images; pass folder:PATH, where PATH holds one folder a class"
    if name in _TABLES and name not in locate.SOURCES:
        return f"{name}: {_TABLES[name]}"
    try:
        return f"{name}: found in {locate.find(name)}"
    except DataAbsentError as error:
        return str(error)


def named(text: str) -> Task:
    """Return the task that `text` names, with options after a colon.

    Options are the fields of the task's class but `augment`, which takes none only. Raises UsageError for an unknown
    name or option (naming the nearest) and for a value that is out of range or of another type.
    """
    name, _, rest = text.partition(":")
    name = _known(name, {**_TASKS, **_TABLES})
    if name in _TABLES:
        raise UsageError(
            f"{name} is a benchmark table, which has no data to train on: mimar.evaluators.benchmarks reads it"
        )
    module, label, _ = _TASKS[name]
    import importlib

    kind: Any = getattr(importlib.import_module(f"mimar.tasks.{module}"), label)
    given: dict[str, Any] = {}
    if name == "folder":
        path, rest = _path(rest)
        given["path"] = path
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"an option of the task {name} is key=value; got {part!r}")
        given[key.strip()] = _value(kind, name, key.strip(), value.strip())
    task: Task = kind(**given)
    return task


def _known(name: str, known: Collection[str]) -> str:
    word = name.strip().lower().replace("_", "-")
    if word not in known:
        hint = "; your own arrays are a task in Python only: mimar.tasks.arrays(x, y)" if word == "arrays" else ""
        raise UsageError(nearest(word, known, kind="task") + hint)
    return word


def _path(rest: str) -> tuple[str, str]:
    """Cut "PATH,key=value,…" before its options; a path that exists wins, whatever it contains."""
    parts = rest.split(",")
    cut = len(parts)
    while cut > 1 and re.fullmatch(r"\s*\w+=[^/]*", parts[cut - 1]) and not os.path.isdir(",".join(parts[:cut])):
        cut -= 1
    path = ",".join(parts[:cut])
    if not path:
        raise UsageError("the task folder needs a path: folder:PATH, where PATH holds one folder a class")
    return path, ",".join(parts[cut:])


def _value(kind: Any, name: str, key: str, value: str) -> Any:
    import dataclasses
    import typing

    types = typing.get_type_hints(kind)
    hints = {f.name: types[f.name] for f in dataclasses.fields(kind) if f.name != "path"}
    if key not in hints:
        raise UsageError(nearest(key, hints, kind=f"option of the task {name}"))
    allowed = typing.get_args(hints[key]) or (hints[key],)
    if value.lower() == "none" and type(None) in allowed:
        return None
    for wanted, word in ((int, "a whole number"), (float, "a number"), (str, "text")):
        if wanted in allowed:
            try:
                return wanted(value)
            except ValueError as error:
                raise UsageError(f"{key} of the task {name} must be {word}; got {value!r}") from error
    raise UsageError(f"{key} of the task {name} can only be none here; anything else is set from Python")
