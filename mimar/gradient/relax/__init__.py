"""Relaxations: from raw architecture parameters (alphas) to gates, one a file."""

from mimar.gradient.relax.parts import Alphas, Context, Gates, Relaxation, entropy, relaxed
from mimar.gradient.relax.softmax import Softmax

__all__ = ["Alphas", "Context", "Gates", "Relaxation", "Softmax", "entropy", "relaxed"]
