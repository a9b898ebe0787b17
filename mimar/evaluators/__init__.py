"""From an architecture to measurements: training from scratch as a resumable process, benchmark tables, and what stands before another evaluator."""

from mimar.evaluators.mapped import Mapped
from mimar.evaluators.parts import Evaluator
from mimar.evaluators.table import Table
from mimar.evaluators.train import Retrain, training
from mimar.evaluators.unreliable import Unreliable

__all__ = ["Evaluator", "Mapped", "Retrain", "Table", "Unreliable", "training"]
