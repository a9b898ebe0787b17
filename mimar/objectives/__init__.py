"""Costs of an architecture (MACs, parameters, latency), penalties, constraints and Pareto fronts."""

from mimar.objectives.costs import option_costs

__all__ = ["option_costs"]
