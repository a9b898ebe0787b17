"""Schedules: the plan of weight steps and alpha steps, one a file."""

from mimar.gradient.schedule.alternate import Alternate
from mimar.gradient.schedule.curved import Curve, Curved
from mimar.gradient.schedule.gradient_gated import GradientGated
from mimar.gradient.schedule.parts import (
    History,
    Phase,
    Rollback,
    Schedule,
    Stop,
    after_epoch,
    keeps,
    past,
    phase,
    probes,
    probing,
)
from mimar.gradient.schedule.phases import InheritScores, Phases, Stage
from mimar.gradient.schedule.rank_stable import RankStable
from mimar.gradient.schedule.rising import Rising
from mimar.gradient.schedule.rising_back import RisingBack
from mimar.gradient.schedule.skip_count import SkipCount
from mimar.gradient.schedule.until import Rule, Until

__all__ = [
    "Alternate",
    "Curve",
    "Curved",
    "GradientGated",
    "History",
    "InheritScores",
    "Phase",
    "Phases",
    "RankStable",
    "Rising",
    "RisingBack",
    "Rollback",
    "Rule",
    "Schedule",
    "SkipCount",
    "Stage",
    "Stop",
    "Until",
    "after_epoch",
    "keeps",
    "past",
    "phase",
    "probes",
    "probing",
]
