"""Budgets and stopping: when which proposal is measured at which fidelity, by how many workers."""

from mimar.schedulers.halving import Hyperband, SuccessiveHalving
from mimar.schedulers.naming import named, names
from mimar.schedulers.parts import Ask, Course, Job, Scheduler, Values
from mimar.schedulers.plain import Asynchronous, Synchronous
from mimar.schedulers.stopping import ASHA, MedianStopping

__all__ = [
    "ASHA",
    "Ask",
    "Asynchronous",
    "Course",
    "Hyperband",
    "Job",
    "MedianStopping",
    "Scheduler",
    "SuccessiveHalving",
    "Synchronous",
    "Values",
    "named",
    "names",
]
