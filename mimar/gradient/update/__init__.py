"""Outer updates: from what a hypergradient found to new alphas, one a file."""

from mimar.gradient.update.adam import Adam
from mimar.gradient.update.exponential import ExponentialWeights
from mimar.gradient.update.least_squares import LeastSquares
from mimar.gradient.update.parts import OuterUpdate
from mimar.gradient.update.reduction import Reduction

__all__ = ["Adam", "ExponentialWeights", "LeastSquares", "OuterUpdate", "Reduction"]
