"""Execution of a space: a model with choices under given weights and gates, and the plain network of one architecture."""

from mimar.supernet.extract import Extracted, chosen, extract, reinitialised
from mimar.supernet.fused import Fused
from mimar.supernet.gates import Gates
from mimar.supernet.memory import free_bytes, saved_bytes, step_bytes
from mimar.supernet.reference import Reference
from mimar.supernet.supernet import Engine, Supernet, output_scales, recalibrated

__all__ = [
    "Engine",
    "Extracted",
    "Fused",
    "Gates",
    "Reference",
    "Supernet",
    "chosen",
    "extract",
    "free_bytes",
    "output_scales",
    "recalibrated",
    "reinitialised",
    "saved_bytes",
    "step_bytes",
]
