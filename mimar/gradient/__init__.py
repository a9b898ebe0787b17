"""The differentiable parts: hypergradients, relaxations, terms, updates, schedules, derivations.

Each is a frozen dataclass with one call; it knows its neighbours only by argument.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["derive", "hypergradient", "regularise", "relax", "schedule", "update"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
