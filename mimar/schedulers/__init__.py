"""Budgets and stopping: when which proposal is measured at which fidelity, by how many workers."""

from mimar.schedulers.naming import named, names
from mimar.schedulers.parts import Ask, Course, Job, Scheduler
from mimar.schedulers.plain import Asynchronous, Synchronous

__all__ = ["Ask", "Asynchronous", "Course", "Job", "Scheduler", "Synchronous", "named", "names"]
