"""Schedules: the plan of weight steps and alpha steps, one a file."""

from mimar.gradient.schedule.alternate import Alternate

__all__ = ["Alternate"]
