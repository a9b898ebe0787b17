"""Terms: extra losses of the inner or the outer problem, one a file."""

from mimar.gradient.regularise.decay import AlphaDecay, WeightDecay
from mimar.gradient.regularise.parts import Term

__all__ = ["AlphaDecay", "Term", "WeightDecay"]
