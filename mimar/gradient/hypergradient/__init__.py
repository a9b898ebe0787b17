"""Hypergradients: d L2(w*(a), a) / da from two losses and two tuples of tensors, one estimator a file."""

from mimar.gradient.hypergradient.conjugate import ConjugateGradient
from mimar.gradient.hypergradient.first import FirstOrder, SingleLevel
from mimar.gradient.hypergradient.neumann import Neumann
from mimar.gradient.hypergradient.parts import Explanation, Hypergradient
from mimar.gradient.hypergradient.unrolled import Unrolled

__all__ = ["ConjugateGradient", "Explanation", "FirstOrder", "Hypergradient", "Neumann", "SingleLevel", "Unrolled"]
