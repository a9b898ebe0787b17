"""Costs of an architecture (MACs, parameters, latency), penalties, constraints and Pareto fronts."""
