"""How far two architectures are from each other, decision by decision and cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mimar.core.errors import UsageError

Decision = tuple[str, Any]


def hamming(a: Mapping[str, Any], b: Mapping[str, Any], cost: Mapping[Any, float] | None = None) -> float:
    """Return the share of decisions in which two architectures differ, from 0 (the same) to 1 (nothing in common).

        d(a, b) = 1 − w(a ∩ b) / max(w(a), w(b))

    w sums the `cost` of the options in a set of decisions (choice, option); options without one cost 1. A choice of kind
    `some` is a decision for every option it takes. Without costs, and where all choices are always active, d is the
    number of differing choices by the number of choices. A metric: symmetric, d(a, a) = 0, triangle inequality (options
    of cost 0 make architectures coincide). Raises UsageError on a negative cost.
    The weighted Hamming distance of D-DARTS (Heuillet et al., 2021) in a form that is a metric with conditions, too.
    """
    costs = cost or {}
    if any(not value >= 0 for value in costs.values()):
        raise UsageError(f"the costs of options must be at least 0, not {min(costs.values())}")
    first, second = _decisions(a), _decisions(b)
    largest = max(_weight(first, costs), _weight(second, costs))
    return max(0.0, 1.0 - _weight(first & second, costs) / largest) if largest else 0.0


def hausdorff(a: Mapping[str, Any], b: Mapping[str, Any], cost: Mapping[Any, float] | None = None) -> float:
    """Return the Hausdorff distance between the cells of two architectures, from 0 to 1.

        D(A, B) = max( max_{x∈A} min_{y∈B} d(x, y), max_{y∈B} min_{x∈A} d(x, y) ),   d = `hamming`

    A cell is the set of choices that share what stands before the last "/" of their names; two cells are compared by what
    stands after it. The order and the number of cells do not count: architectures of the same cells are at distance 0.
    Source: Heuillet et al., "D-DARTS", 2021.
    """
    first, second = _cells(a), _cells(b)
    ways = [[hamming(x, y, cost) for y in second] for x in first]
    back = list(zip(*ways, strict=True)) if first else [()] * len(second)
    return max((min(row, default=1.0) for row in (*ways, *back)), default=0.0)


def _decisions(arch: Mapping[str, Any]) -> frozenset[Decision]:
    pairs = ((n, v if isinstance(v, tuple) else (v,)) for n, v in arch.items())
    return frozenset((name, option) for name, options in pairs for option in options)


def _weight(decisions: frozenset[Decision], costs: Mapping[Any, float]) -> float:
    # sorted, so that rounding does not depend on the hashes of texts
    return sum(sorted(costs.get(option, 1.0) for _, option in decisions))


def _cells(arch: Mapping[str, Any]) -> list[dict[str, Any]]:
    cells: dict[str, dict[str, Any]] = {}
    for name, value in arch.items():
        cell, _, rest = name.rpartition("/")
        cells.setdefault(cell, {})[rest] = value
    return list(cells.values())
