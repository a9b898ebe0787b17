"""Conformance kits: plain functions that raise AssertionError, in one sentence, where a part breaks the laws of its kind.

They need no test framework, so that anybody can prove a part of their own: `check_hypergradient(MyPart())`.
"""

from mimar.testing.evaluator import check_evaluator
from mimar.testing.hypergradient import check_hypergradient
from mimar.testing.problems import Ridge
from mimar.testing.recipe import check_recipe
from mimar.testing.relaxation import check_relaxation
from mimar.testing.space import check_space
from mimar.testing.strategy import check_strategy
from mimar.testing.supernet import check_supernet
from mimar.testing.task import check_task

__all__ = [
    "Ridge",
    "check_evaluator",
    "check_hypergradient",
    "check_recipe",
    "check_relaxation",
    "check_space",
    "check_strategy",
    "check_supernet",
    "check_task",
]
