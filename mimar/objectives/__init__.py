"""Costs of an architecture (MACs, parameters, latency), objectives, limits and Pareto fronts."""

from mimar.objectives.aims import (
    AbsoluteReward,
    Best,
    Objective,
    Potential,
    Power,
    Tangent,
    Vector,
    WeightedProduct,
    aim,
    settled,
)
from mimar.objectives.costs import option_costs
from mimar.objectives.limits import Limit, limit
from mimar.objectives.pareto import crowding, dominates, front, hypervolume, order, ranks, utilities

__all__ = [
    "AbsoluteReward",
    "Best",
    "Limit",
    "Objective",
    "Potential",
    "Power",
    "Tangent",
    "Vector",
    "WeightedProduct",
    "aim",
    "crowding",
    "dominates",
    "front",
    "hypervolume",
    "limit",
    "option_costs",
    "order",
    "ranks",
    "settled",
    "utilities",
]
