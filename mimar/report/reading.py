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

JSON = Any


def number(value: JSON) -> float | None:
    """Return a finite number as a float, and None for everything else."""
    try:
        found = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def mapping(value: JSON) -> dict[str, Any]:
    """Return a dict, empty where `value` is none."""
    return value if isinstance(value, dict) else {}


def items(value: JSON) -> list[Any]:
    """Return a list, empty where `value` is none."""
    return value if isinstance(value, list) else []


@dataclass(frozen=True)
class Run:
    """One run folder as read: the header, the events by kind, the result if there is one, and what is damaged."""

    folder: Path
    header: dict[str, Any]
    damage: tuple[str, ...]
    epochs: tuple[dict[str, Any], ...]  # of the search
    retraining: dict[str, list[dict[str, Any]]]  # epochs by network
    derived: dict[str, Any]
    trained: tuple[dict[str, Any], ...]
    warned: tuple[dict[str, Any], ...]
    result: dict[str, Any]
    seconds: float | None

    @property
    def title(self) -> str:
        """Recipe, task and seed."""
        return f"{self.text('recipe')} on {self.text('task')}, seed {self.text('seed')}"

    @property
    def layout(self) -> str | None:
        """The published layout of the cell, or None."""
        found = self.header.get("layout")
        return found if isinstance(found, str) else None

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.result)

    @property
    def network(self) -> dict[str, Any]:
        """The event of the derived network's training, empty before it."""
        return next((t for t in self.trained if t.get("network") == "derived"), {})

    @property
    def others(self) -> list[dict[str, Any]]:
        """The events of the random networks' trainings."""
        return [t for t in self.trained if t.get("network") != "derived"]

    @property
    def architecture(self) -> dict[str, Any]:
        """The derived architecture as choice → option, empty before the derivation."""
        for source in (self.result, self.derived, self.network):
            if found := mapping(source.get("architecture")):
                return found
        return {}

    @property
    def baseline(self) -> dict[str, Any]:
        """{n, best, mean, std} of the random networks once all of them are trained."""
        return mapping(mapping(self.result.get("baseline")).get("random"))

    @property
    def entropies(self) -> tuple[float | None, float | None]:
        """Entropy of the relaxation before and after the search."""
        return number(self.derived.get("entropy_before")), number(self.derived.get("entropy_after"))

    @property
    def moved(self) -> bool | None:
        """Whether the gates' entropy fell by at least 10 %; None while that is unknown."""
        before, after = self.entropies
        if before is not None and after is not None:
            return before > 0 and (before - after) / before >= 0.1
        found = self.derived.get("moved")
        return found if isinstance(found, bool) else None

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        """The options of each choice that has gates, as texts, in the order of the space."""
        found = {}
        for choice in map(mapping, items(self.header.get("space"))):
            if isinstance(choice.get("name"), str) and choice.get("kind", "one") != "value":
                found[choice["name"]] = tuple(map(str, items(choice.get("options"))))
        return found

    def text(self, key: str) -> str:
        """Return a field of the header as text, a dash where it is missing."""
        found = self.header.get(key)
        return "–" if found is None else str(found)

    def series(self, *path: str) -> list[tuple[float, float]]:
        """Return (epoch, value) of a field of the search epochs where it is a finite number."""
        return series(self.epochs, *path)


def series(events: Iterable[dict[str, Any]], *path: str) -> list[tuple[float, float]]:
    """Return (epoch, value) of the field at `path` for the events that have both."""
    found = []
    for event in events:
        value: Any = event
        for key in path:
            value = mapping(value).get(key)
        x, y = number(event.get("epoch")), number(value)
        if x is not None and y is not None:
            found.append((x, y))
    return found


def load(folder: str | os.PathLike[str]) -> Run:
    """Read a run folder without changing it. Raises RunError when it is none."""
    with runs.open_run(folder) as store:
        events = store.events()
        try:
            timed = mapping(json.loads(store.read("result.json")))
        except (RunError, ValueError, RecursionError):  # a run that has not ended, or a file that somebody cut
            timed = {}
        kinds: dict[Any, list[dict[str, Any]]] = {}
        for event in events:
            kinds.setdefault(event.get("event") if isinstance(event.get("event"), str) else None, []).append(event)
        retraining: dict[str, list[dict[str, Any]]] = {}
        for event in kinds.get("epoch", []):
            if event.get("phase") == "retrain":
                retraining.setdefault(str(event.get("network")), []).append(event)
        return Run(
            folder=store.folder,
            header=store.header,
            damage=tuple(store.damage),
            epochs=tuple(e for e in kinds.get("epoch", []) if e.get("phase") == "search"),
            retraining=retraining,
            derived=(kinds.get("derived") or [{}])[-1],
            trained=tuple(kinds.get("trained", [])),
            warned=tuple(kinds.get("warned", [])),
            result=mapping((kinds.get("finished") or [{}])[-1].get("result")),
            seconds=number(timed.get("seconds")),
        )
