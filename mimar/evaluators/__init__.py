"""From an architecture to measurements: training from scratch, as a resumable process."""

from mimar.evaluators.train import Retrain, training

__all__ = ["Retrain", "training"]
