"""Schedulers by name, as the command line writes them: "asynchronous", "synchronous:batch=8", "asha:eta=4,kind=stop"."""

from __future__ import annotations

from typing import Any

from mimar.core.errors import UsageError, nearest
from mimar.core.reading import part
from mimar.schedulers.halving import Hyperband, SuccessiveHalving
from mimar.schedulers.parts import Scheduler
from mimar.schedulers.plain import Asynchronous, Synchronous
from mimar.schedulers.stopping import ASHA, MedianStopping

SCHEDULERS: dict[str, type[Any]] = {
    "asynchronous": Asynchronous,
    "synchronous": Synchronous,
    "successive-halving": SuccessiveHalving,
    "hyperband": Hyperband,
    "asha": ASHA,
    "median-stopping": MedianStopping,
}


def names() -> tuple[str, ...]:
    """Return the names that `named` knows."""
    return tuple(SCHEDULERS)


def named(given: str | Scheduler) -> Scheduler:
    """Return a scheduler given as itself or by name, with its fields after a colon; raises UsageError naming the nearest."""
    if not isinstance(given, str):
        if not hasattr(given, "start"):
            raise UsageError(f"a scheduler is a part of mimar.schedulers or a name of one, not {given!r}")
        return given
    name, _, rest = given.partition(":")
    name = name.strip().lower().replace("_", "-")
    if name not in SCHEDULERS:
        raise UsageError(nearest(name, SCHEDULERS, kind="scheduler"))
    found: Scheduler = part(SCHEDULERS[name], rest, name)
    return found
