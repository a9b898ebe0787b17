"""What a search tells while it runs; the store, the progress line and the tests consume these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One step is done and the state is consistent: the place to save, to stop, or to draw the progress line."""

    phase: str  # search | retrain | baseline | evaluate
    label: str  # for a person: "search", "random 2 of 4"
    done: int  # steps of this phase
    total: int
    figures: dict[str, float] = field(default_factory=dict)
    boundary: bool = False  # an epoch or phase ends here: worth a snapshot


@dataclass(frozen=True)
class Record:
    """One line of the run's log: JSON alone, and nothing that depends on the clock or on what else the machine does."""

    data: dict[str, Any]
    logged: bool = True  # False for what depends on the machine's state: shown, and not kept


Event = Step | Record
