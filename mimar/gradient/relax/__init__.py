"""Relaxations: from raw architecture parameters (alphas) to gates, one a file."""

from mimar.gradient.relax.parts import Context, Relaxation, entropy, relaxed
from mimar.gradient.relax.softmax import Softmax

__all__ = ["Context", "Relaxation", "Softmax", "entropy", "relaxed"]
