"""Outer updates: from hypergradients to new alphas, one a file."""

from mimar.gradient.update.adam import Adam

__all__ = ["Adam"]
