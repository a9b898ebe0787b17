"""Relaxations: from raw architecture parameters (alphas) to gates, one a file."""

from mimar.gradient.relax.parts import Alphas, Context, Gates, Relaxation, entropy, relaxed
from mimar.gradient.relax.perturbed import Perturbed
from mimar.gradient.relax.softmax import Softmax

__all__ = ["Alphas", "Context", "Gates", "Perturbed", "Relaxation", "Softmax", "entropy", "relaxed"]
