"""What is said of derived architectures beside their accuracy: how alike, how many free operations, what the table says."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from mimar.space import OneOf

Chosen = Mapping[str, Any]  # choice → option, as a run's result has it
SETS = ("cifar10", "cifar100", "ImageNet16-120")  # rows of the table's column `test200`


def distance(architectures: Sequence[Chosen]) -> float | None:
    """Return the mean over all pairs of the share of choices that differ, 0 to 1; None for fewer than two.

    A choice counts for a pair when one of both has it; where the other one has not, it differs.
    """
    pairs = list(itertools.combinations(architectures, 2))
    return statistics.fmean(_differing(a, b) for a, b in pairs) if pairs else None


def _differing(a: Chosen, b: Chosen) -> float:
    names = a.keys() | b.keys()
    return sum(name not in a or name not in b or a[name] != b[name] for name in names) / max(len(names), 1)


def free_options(model: nn.Module) -> dict[str, frozenset[str]]:
    """Return, for every OneOf of a model, the options that have no parameter wherever the choice stands.

    Counted in the supernet's own model, whose batch norms inside options have no affine part: a pool is free there. A
    skip that halves the resolution has weights and is not.
    """
    free: dict[str, set[str]] = {}
    for module in model.modules():
        if isinstance(module, OneOf):
            held = {
                o for o, c in zip(module.options, module.candidates, strict=True) if any(True for _ in c.parameters())
            }
            free.setdefault(module.name, set(module.options)).difference_update(held)
    return {name: frozenset(found) for name, found in free.items()}


def free_operations(chosen: Chosen, free: Mapping[str, frozenset[str]]) -> int:
    """Return how many choices of an architecture took an option without parameters."""
    return sum(str(option) in free.get(name, ()) for name, option in chosen.items())


def looked_up(architectures: Iterable[Chosen]) -> dict[str, list[float]]:
    """Return the test accuracies (%, 200 epochs) of NAS-Bench-201 cells on the table's three data sets.

    Raises DataAbsentError, saying where to get it, when the table is not on this machine.
    """
    import numpy as np

    from mimar.study.lookup import EDGES, OPERATIONS
    from mimar.tasks import locate

    with np.load(locate.find("nas/nasbench201.npz"), allow_pickle=False) as table:
        rows = {tuple(cell): i for i, cell in enumerate(table["cell"].tolist())}
        tests = table["test200"]
    found: dict[str, list[float]] = {name: [] for name in SETS}
    for architecture in architectures:
        edges = {name.rpartition("/")[2]: str(option) for name, option in architecture.items()}  # in any order
        row = rows[tuple(OPERATIONS.index(edges[e]) for e in EDGES)]
        for name, values in zip(SETS, tests, strict=True):
            found[name].append(float(values[row]))
    return found
