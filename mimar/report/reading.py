"""What the files of a run folder say, sorted by kind; a stranger's or a damaged file gives less, never an exception."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
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
    trials: list[Event] = field(default_factory=list)  # of a black-box search

    @property
    def title(self) -> str:
        """Recipe, task and seed."""
        return f"{self.text('recipe')} on {self.text('task')}, seed {self.text('seed')}"

    @property
    def network(self) -> Event:
        """The derived network's training, or that of the network which a search without derivation chose.

        Of a search on a table its figures, as if they were those of a training.
        """
        if self.blackbox and not self.trained and self.result:
            return {k: self.result.get(k) for k in ("architecture", "metrics")} | {"network": "found"}
        named = [t for t in self.trained if own(t)]
        chosen = [t for t in self.trained if self.result and t.get("metrics") == self.result.get("metrics")]
        return next(iter([t for t in named if t in chosen] + named + chosen), {})

    @property
    def others(self) -> list[Event]:
        """The trainings of the random networks; of all networks where none was derived, and random search chose one."""
        if self.blackbox and not self.random:
            asked = self.trainings.values()
            return [t for t in self.trained if not own(t) and not any(t is a for a in asked)]
        return [t for t in self.trained if not own(t)]

    @property
    def blackbox(self) -> bool:
        """Whether this is a search by asking and telling, of which trials are on record, or will be."""
        waiting = not self.trained and self.part() == "AskTell"
        return bool(self.trials) or waiting

    @property
    def random(self) -> bool:
        """Whether random search is this search itself, so that nothing else stands beside it."""
        alone = mapping(self.header.get("tree")).get("baseline") is None and not any(map(own, self.trained))
        return alone and self.part("strategy") == "Random"

    @property
    def trainings(self) -> dict[int, Event]:
        """The training of each trial, by the trial's place in the log from 0; empty on a table."""
        left, found = list(self.trained), {}
        for place, trial in enumerate(self.trials if left and not any(map(own, left)) else ()):
            name = f"random-{trial.get('number')}"
            at = [i for i, t in enumerate(left) if t.get("network") == name]
            at = [i for i in at if left[i].get("architecture") == trial.get("architecture")]
            if at and trial.get("status") == "ok":
                found[place] = left.pop(at[0])
        return found

    @property
    def measures(self) -> dict[str, tuple[str, str]]:
        """What `measures` says of the result."""
        return measures(self.result)

    @property
    def unit(self) -> str:
        """The unit of a black-box search's costs, as far as it is known."""
        return str(self.result.get("unit", "MACs" if self.trained else "of its clock"))

    @property
    def simulated(self) -> str:
        """The word that belongs to the seconds of a table, which nobody waits for."""
        return " (simulated)" if self.unit == "s" and not self.trained else ""

    def part(self, *names: str) -> str:
        """Return the class name of a part of the search, of the search itself without a name."""
        tree = mapping(self.header.get("tree"))
        for name in names:
            tree = mapping(tree.get(name))
        return str(tree.get("part", "")).rpartition(".")[2]

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


def measures(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the direction ("max" or "min") and the unit of each figure of a trial, the primary one first."""
    given = [list(map(str, items(m))) for m in items(result.get("measures"))]
    return {m[0]: (m[1], m[2]) for m in given if len(m) == 3}


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
    return Run(store.folder, store.header, store.damage, *log, number(timed.get("seconds")), of("trial"))
