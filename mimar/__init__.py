"""Neural architecture search from few exchangeable parts; every public name is loaded when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimar import (
        core,
        evaluators,
        gradient,
        kernels,
        nets,
        objectives,
        predictors,
        recipes,
        report,
        runs,
        schedulers,
        search,
        space,
        strategies,
        study,
        supernet,
        tasks,
        testing,
    )
    from mimar.space import Architecture, Choice, OneOf, SomeOf, Space

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "Choice",
    "OneOf",
    "SomeOf",
    "Space",
    "core",
    "evaluators",
    "gradient",
    "kernels",
    "nets",
    "objectives",
    "predictors",
    "recipes",
    "report",
    "runs",
    "schedulers",
    "search",
    "space",
    "strategies",
    "study",
    "supernet",
    "tasks",
    "testing",
]

_OF_SPACE = ("Architecture", "Choice", "OneOf", "SomeOf", "Space")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _OF_SPACE:
        return getattr(importlib.import_module("mimar.space"), name)
    return importlib.import_module(f"mimar.{name}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
