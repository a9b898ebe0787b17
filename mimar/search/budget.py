"""Budgets in analytic training cost, never in wall time: MACs × samples × 3 for a weight step.

A gradient counts 3 forward passes, a product on its graph 4 (`Hypergradient.passes`), a pure evaluation 1; the supernet
counts with every option. The random baseline gets n = max(3, ⌈(search + retraining) / retraining⌉) networks.
"""

from __future__ import annotations

FEWEST = 3  # random networks, however cheap the search was


def baseline_size(search: float, retraining: float) -> int:
    """Return n, the number of random networks that cost as much as the search and its retraining together."""
    if retraining <= 0:
        return FEWEST
    return max(FEWEST, -int(-(search + retraining) // retraining))
