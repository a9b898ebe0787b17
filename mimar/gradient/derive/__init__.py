"""Derivations: from gates to one architecture, one a file."""

from mimar.gradient.derive.best_path import BestPath
from mimar.gradient.derive.parts import Bench, Derivation, Process, process
from mimar.gradient.derive.perturbation import Perturbation
from mimar.gradient.derive.strongest import Strongest, strengths
from mimar.gradient.derive.threshold import Threshold

__all__ = [
    "Bench",
    "BestPath",
    "Derivation",
    "Perturbation",
    "Process",
    "Strongest",
    "Threshold",
    "process",
    "strengths",
]
