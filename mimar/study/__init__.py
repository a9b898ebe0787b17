"""Comparison of recipes under equal budgets, and the evidence recorded from it."""
