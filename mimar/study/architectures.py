"""What is said of derived architectures beside their accuracy: how alike, how many free operations, what the table says."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from mimar.space import OneOf

Chosen = Mapping[str, Any]  # choice → option, as a run's result has it


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
