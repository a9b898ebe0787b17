"""The trials of a black-box search as its log has them: what was measured, when, from which parent, and which led."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mimar.core.errors import SpaceError
from mimar.core.units import count, percent
from mimar.objectives import dominates
from mimar.report.plots import short, whole_percent
from mimar.report.reading import Run, items, mapping, number
from mimar.space import Architecture


@dataclass(frozen=True, eq=False)
class Tried:
    """One trial; `place` counts from 1 in the order in which trials ended, `values` are empty where it has none.

    `parent`: the trial it was made from, the latest one of that architecture; `depth` counts the generations above it.
    `tested`: the record of its training, {} on a table.
    """

    place: int
    architecture: dict[str, Any]
    values: tuple[float, ...]
    metrics: dict[str, Any]
    status: str
    cost: float
    ended: float
    fidelity: float | None
    since: float | None
    repeated: bool
    parent: Tried | None = None
    depth: int = 0
    digest: str = ""
    tested: Mapping[str, Any] = field(default_factory=dict)

    @property
    def height(self) -> float:
        """The fidelity; what names none was measured fully."""
        return math.inf if self.fidelity is None else self.fidelity

    @property
    def rung(self) -> str:
        """The fidelity as text."""
        return "full" if self.fidelity is None else f"{self.fidelity:g}"


class Aim(NamedTuple):
    """One objective: its name, where it stands among the values, whether it grows (1) or shrinks (−1), and its unit."""

    name: str
    place: int = 0
    sign: int = 1
    unit: str = "1"

    @property
    def label(self) -> str:
        """The name as words, with the unit."""
        unit = f" ({self.unit})" if self.unit not in ("1", "", "fraction") else ""
        return self.name.replace("_", " ") + unit

    def of(self, trial: Tried) -> float:
        """Return the figure of a trial that has values, in its own direction."""
        return self.sign * trial.values[self.place]

    def form(self, value: float | None) -> str:
        """Return a figure as text, a dash where there is none."""
        if value is None or self.unit == "fraction":
            return percent(value)
        return count(value) if abs(value) >= 1e4 else f"{value:.4g}"

    @property
    def tick(self) -> Callable[[float], str]:
        """How an axis writes figures."""
        return whole_percent if self.unit == "fraction" else lambda v: count(v) if abs(v) >= 1e4 else short(v)

    def gap(self, value: float) -> str:
        """Return a difference with its sign: points where figures are percentages."""
        if self.unit == "fraction":
            return f"{100 * value:+.2f}"
        return ("−" if value < 0 else "+") + (count(abs(value)) if abs(value) >= 1e4 else f"{abs(value):.3g}")


def read(run: Run) -> list[Tried]:
    """Return the trials of a run in the order in which they ended."""
    found: list[Tried] = []
    latest: dict[str, Tried] = {}  # by the architecture's digest
    trainings = run.trainings
    for place, event in enumerate(run.trials, start=1):
        given = mapping(event.get("architecture"))
        digest, parent = _digest(given), latest.get(str(event.get("parent")))
        values = tuple(v for v in map(number, items(event.get("values"))) if v is not None)
        whole = event.get("status") == "ok" and len(values) == len(items(event.get("values")))
        trial = Tried(
            place,
            given,
            values if whole else (),
            mapping(event.get("metrics")),
            str(event.get("status")),
            number(event.get("cost")) or 0.0,
            number(event.get("ended")) or 0.0,
            number(event.get("fidelity")),
            number(event.get("since")),
            event.get("repeated") is True,
            parent,
            parent.depth + 1 if parent else 0,
            digest,
            trainings.get(place - 1, {}),
        )
        found.append(trial)
        latest[digest] = trial
    return found


def _digest(given: dict[str, Any]) -> str:
    try:
        return Architecture(given).digest
    except (SpaceError, ValueError, TypeError):  # a stranger's file
        return ""


def aims(run: Run, trials: Sequence[Tried]) -> list[Aim]:
    """Return the objectives: by the names that the run gives, with the directions of its measures or of its figures."""
    asked = mapping(mapping(run.header.get("tree")).get("trials")).get("objective")
    part = mapping(asked)
    names = [str(n) for n in (*items(asked), *items(part.get("metrics")), part.get("metric")) if n]
    kind = str(part.get("part", "")).rpartition(".")[2]
    good = [t for t in trials if t.values]
    names = names or list(run.measures)[:1] or [str(n) for t in good[:1] for n in t.metrics][:1]
    if kind not in ("", "Best", "Vector"):  # what a part makes of the metrics has a name of its own
        names = ["".join(f" {c.lower()}" if c.isupper() else c for c in kind).strip()]
    size = max((len(t.values) for t in good), default=1)
    names = [*names, *(f"value {i + 1}" for i in range(len(names), size))][:size]
    return [_aim(run, name, i, good) for i, name in enumerate(names)]


def _aim(run: Run, name: str, place: int, good: Sequence[Tried]) -> Aim:
    direction, unit = run.measures.get(name, ("", ""))
    if not direction:
        pairs = [(number(t.metrics.get(name)), t.values[place]) for t in good if len(t.values) > place]
        direction = "min" if any(m for m, _ in pairs) and all(m is not None and m == -v for m, v in pairs) else "max"
        unit = "fraction" if name.endswith("accuracy") else "1"
    return Aim(name, place, -1 if direction == "min" else 1, unit)


def leaders(trials: Sequence[Tried]) -> list[Tried]:
    """Return the incumbents in their order: each is the best so far at the highest fidelity that any had so far."""
    found: list[Tried] = []
    for trial in trials:
        if trial.values and (not found or (trial.height, trial.values) > (found[-1].height, found[-1].values)):
            found.append(trial)
    return found


def top(trials: Sequence[Tried]) -> list[Tried]:
    """Return the trials with values at the highest fidelity."""
    good = [t for t in trials if t.values]
    most = max((t.height for t in good), default=math.inf)
    size = max((len(t.values) for t in good), default=0)
    return [t for t in good if t.height == most and len(t.values) == size]


def fronts(trials: Sequence[Tried]) -> Iterator[tuple[Tried, list[Tried]]]:
    """Yield each trial that nothing before it dominates, with the front that it then belongs to."""
    held: list[Tried] = []
    for new in trials:
        known = any(old.digest == new.digest and old.values == new.values for old in held)
        if known or any(dominates(old.values, new.values) for old in held):
            continue
        held = [*(old for old in held if not dominates(new.values, old.values)), new]
        yield new, held


def distinct(trials: Sequence[Tried]) -> list[tuple[Tried, int]]:
    """Return the trials from best to worst by their first value, each architecture once, with how often it was tried."""
    times: dict[str, int] = {}
    for trial in trials:
        times[trial.digest] = times.get(trial.digest, 0) + 1
    best: dict[str, Tried] = {}
    for trial in sorted(trials, key=lambda t: (*(-v for v in t.values), t.place)):
        best.setdefault(trial.digest, trial)
    return [(trial, times[trial.digest]) for trial in best.values()]


def line_of(trial: Tried) -> list[Tried]:
    """Return the ancestors of a trial from the first to itself."""
    found, at = [trial], trial.parent
    while at is not None:
        found.append(at)
        at = at.parent
    return found[::-1]
