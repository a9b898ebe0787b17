"""What the real benchmark table says of a cell found by a small search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mimar.core.errors import UsageError

EDGES = ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")  # as the table's column `cell` has them
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
MARKS = {"all-skip collapse": 54.30, "mean of all cells": 87.06, "best cell": 94.37}  # CIFAR-10 test %, 200 epochs


SETS = ("cifar10", "cifar100", "ImageNet16-120")  # rows of the table's column `test200`


def nasbench201(architectures: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return {data set: test accuracies (%, 200 epochs, mean over seeds)} of NAS-Bench-201 cells.

    Raises DataAbsentError, saying where to get it, when the table is not on this machine, and UsageError for what is not
    one such cell: cells that differ with depth are in no table.
    """
    import numpy as np

    from mimar.tasks import locate

    with np.load(locate.find("nas/nasbench201.npz"), allow_pickle=False) as table:
        rows = {tuple(cell): i for i, cell in enumerate(table["cell"].tolist())}
        tests = table["test200"]
    found: dict[str, list[float]] = {name: [] for name in SETS}
    for architecture in architectures:
        edges = {name.rpartition("/")[2]: str(option) for name, option in architecture.items()}  # in any order
        if len(architecture) != len(EDGES) or set(edges) != set(EDGES):
            raise UsageError(
                f"the table of NAS-Bench-201 knows cells of the six edges {', '.join(EDGES)}; got {len(architecture)} choices"
            )
        row = rows[tuple(OPERATIONS.index(edges[e]) for e in EDGES)]
        for name, values in zip(SETS, tests, strict=True):
            found[name].append(float(values[row]))
    return found
