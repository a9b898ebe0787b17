"""Derivations: from gates to one architecture, one a file."""

from mimar.gradient.derive.strongest import Strongest, strengths

__all__ = ["Strongest", "strengths"]
