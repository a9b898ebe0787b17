"""Mixers: from gates to the coefficients under which options are summed, one a file."""

from mimar.gradient.mix.max_w import MaxW
from mimar.gradient.mix.parts import Mixer, Sum

__all__ = ["MaxW", "Mixer", "Sum"]
