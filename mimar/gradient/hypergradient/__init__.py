"""Hypergradients: d L2(w*(a), a) / da from two losses and two tuples of tensors, one estimator a file."""

from mimar.gradient.hypergradient.conjugate import ConjugateGradient
from mimar.gradient.hypergradient.first import FirstOrder, SingleLevel
from mimar.gradient.hypergradient.hinge_cost import HingeCost
from mimar.gradient.hypergradient.neumann import Neumann
from mimar.gradient.hypergradient.observed import Observed
from mimar.gradient.hypergradient.parts import Explanation, Hypergradient
from mimar.gradient.hypergradient.rebar import Rebar
from mimar.gradient.hypergradient.reinforce import Reinforce
from mimar.gradient.hypergradient.relaxed import Relaxed
from mimar.gradient.hypergradient.sampled import Sampled
from mimar.gradient.hypergradient.tried import Cost
from mimar.gradient.hypergradient.unrolled import Unrolled

__all__ = [
    "ConjugateGradient",
    "Cost",
    "Explanation",
    "FirstOrder",
    "HingeCost",
    "Hypergradient",
    "Neumann",
    "Observed",
    "Rebar",
    "Reinforce",
    "Relaxed",
    "Sampled",
    "SingleLevel",
    "Unrolled",
]
