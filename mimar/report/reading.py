"""What the files of a run folder say, sorted by kind; a stranger's or a damaged file gives less, never an exception."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimar import runs
from mimar.core.errors import RunError

Event = dict[str, Any]


def number(value: Any) -> float | None:
    """Return a finite number as a float, and None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return None
    return float(value) if math.isfinite(value) else None


def mapping(value: Any) -> dict[str, Any]:
    """Return a dict, empty where `value` is none."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return a list, empty where `value` is none."""
    return value if isinstance(value, list) else []


def series(events: Iterable[Event], *keys: str) -> list[tuple[float, float]]:
    """Return (epoch, value) of a nested field for the events that have both as finite numbers."""
    found = []
    for event in events:
        value: Any = event
        for key in keys:
            value = mapping(value).get(key)
        x, y = number(event.get("epoch")), number(value)
        if x is not None and y is not None:
            found.append((x, y))
    return found


@dataclass(frozen=True)
class Run:
    """One run folder as read: the header, the events by kind, the result if there is one, and what is damaged."""

    folder: Path
    header: dict[str, Any]
    damage: list[str]
    epochs: list[Event]  # of the search
    retraining: dict[str, list[Event]]  # epochs by network
    derived: Event
    trained: list[Event]
    warned: list[Event]
    result: dict[str, Any]
    seconds: float | None

    @property
    def title(self) -> str:
        """Recipe, task and seed."""
        return f"{self.text('recipe')} on {self.text('task')}, seed {self.text('seed')}"

    @property
    def network(self) -> Event:
        """The derived network's training, or that of the network which a search without derivation chose."""
        named = [t for t in self.trained if own(t)]
        chosen = [t for t in self.trained if self.result and t.get("metrics") == self.result.get("metrics")]
        return next(iter([t for t in named if t in chosen] + named + chosen), {})

    @property
    def others(self) -> list[Event]:
        """The trainings of the random networks; of all networks where none was derived."""
        return [t for t in self.trained if not own(t)]

    @property
    def architecture(self) -> dict[str, Any]:
        """The derived architecture as choice → option, empty before the derivation."""
        found = (mapping(source.get("architecture")) for source in (self.result, self.derived, self.network))
        return next(filter(None, found), {})

    @property
    def baseline(self) -> dict[str, float | None]:
        """n, best, mean and std of the random networks; None each until all of them are trained."""
        found = mapping(mapping(self.result.get("baseline")).get("random"))
        return {key: number(found.get(key)) for key in ("n", "best", "mean", "std")}

    @property
    def entropies(self) -> tuple[float | None, float | None]:
        """Entropy of the relaxation before and after the search."""
        return number(self.derived.get("entropy_before")), number(self.derived.get("entropy_after"))

    @property
    def moved(self) -> bool | None:
        """Whether the gates' entropy fell by at least 10 %; None where that is unknown."""
        before, after = self.entropies
        return None if before is None or after is None else before > 0 and (before - after) / before >= 0.1

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        """The options of each choice that has gates, as texts, in the order of the space."""
        choices = [c for c in map(mapping, items(self.header.get("space"))) if c.get("kind") != "value"]
        return {str(c.get("name")): tuple(map(str, items(c.get("options")))) for c in choices}

    def text(self, key: str) -> str:
        """Return a field of the header as text, a dash where it is missing."""
        found = self.header.get(key)
        return "–" if found is None else str(found)


def own(trained: Event) -> bool:
    """Whether a network was derived: "derived", or "derived-2" where several searches derived one each."""
    return str(trained.get("network")).startswith("derived")


def load(folder: str | os.PathLike[str]) -> Run:
    """Read a run folder without changing it. Raises RunError when it is none."""
    with runs.open_run(folder) as store:
        events = store.events()
        try:
            timed = mapping(json.loads(store.read("result.json")))
        except (RunError, ValueError, RecursionError):  # a run that has not ended, or a file that somebody cut
            timed = {}

    result = next((mapping(e.get("result")) for e in events if e.get("event") == "finished"), {})
    level = mapping(result.get("supernet")).get("level")  # of several searches the one that won
    events = [e for e in events if level is None or e.get("level", level) == level]

    def of(kind: str, phase: str | None = None) -> list[Event]:
        return [e for e in events if e.get("event") == kind and phase in (None, e.get("phase"))]

    names = dict.fromkeys(str(e.get("network")) for e in of("epoch", "retrain"))
    retraining = {name: [e for e in of("epoch", "retrain") if str(e.get("network")) == name] for name in names}
    derived, ended = ([{}, *of(kind)][-1] for kind in ("derived", "finished"))
    log = of("epoch", "search"), retraining, derived, of("trained"), of("warned"), mapping(ended.get("result"))
    return Run(store.folder, store.header, store.damage, *log, number(timed.get("seconds")))
