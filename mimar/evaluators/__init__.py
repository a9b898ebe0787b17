"""From an architecture to measurements: training from scratch, shared weights."""

from mimar.evaluators.train import Retrain, training

__all__ = ["Retrain", "training"]
