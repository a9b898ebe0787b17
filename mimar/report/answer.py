"""The verdict of a black-box search in full sentences: what it found, what it saw of it, and what random search has."""

from __future__ import annotations

from collections.abc import Sequence

from mimar.core.units import cost
from mimar.report import words
from mimar.report.leading import members_of
from mimar.report.reading import Run, mapping
from mimar.report.trials import Aim, Tried, leaders, top


def lead(run: Run, trials: Sequence[Tried], aims: Sequence[Aim]) -> list[str]:
    """Return the verdict; of an unfinished run how far it is and what leads."""
    m = words.measure(run)
    test = m.of(run.network)
    found = (
        [] if run.result else [f"This run is not finished: {words.stage(run)}. Below is what it has written so far."]
    )
    if test is None:
        saw = _seen(run, trials, aims)
        return [*found, *([saw] if saw else [])] or [f"The files of this run hold no {m.title} of what it found."]
    how = ", trained from scratch," if run.trained else ""
    found.append(f"The architecture found{how} has {m.form(test)} {m.title}. {_seen(run, trials, aims)}".strip())
    if len(aims) > 1 and (size := len(members_of(top(trials)))):
        names = [aim.name.replace("_", " ") for aim in aims]
        text = f"The front of {', '.join(names)} has {size} architectures: nothing measured is better than one of them "
        found.append(f"{text}in one and no worse in all others. The one above has the best {names[0]} of them.")
    return [*found, *_beside(run, test)]


def _seen(run: Run, trials: Sequence[Tried], aims: Sequence[Aim]) -> str:
    """Say when what leads was measured, and what the search saw of it; "" where nothing leads."""
    led = leaders(trials)
    if not led:
        return ""
    told = ", ".join(f"{aim.label} {aim.form(aim.of(led[-1]))}" for aim in aims)
    told += f" at fidelity {led[-1].rung}" if led[-1].fidelity is not None else ""
    who = mapping(mapping(run.header.get("tree")).get("trials")).get("evaluator")
    told += f", by {who}" if isinstance(who, str) and who else ""
    at, end = f"query {led[-1].place:,} of {len(trials):,}", max(t.ended for t in trials)
    if end and run.unit != "queries":
        at += f", {cost(led[-1].ended, run.unit)}{run.simulated} after its beginning"
    return f"The search measured it at {at}, and saw: {told}."


def _beside(run: Run, test: float) -> list[str]:
    m, (n, best, mean, std) = words.measure(run), run.baseline.values()
    if not n or best is None or mean is None:
        return ["No random search stands beside it, so this run cannot say whether the strategy helped."]
    spread = f"mean ± standard deviation of all: {m.form(mean)} ± {m.form(std)} (n = {n:.0f})"
    if run.random:
        return [f"This is random search itself; {spread}."]
    budget = "under the same budget " if mapping(run.header.get("tree")).get("baseline") is None else ""
    gap = "exactly as much" if test == best else f"{m.gap(test - best)} {'less' if test > best else 'more'}"
    made = f"trained {n:.0f} networks of" if run.trained else f"made {n:.0f} queries in"
    text = f"Random search {budget}{made} the same space. What it would choose has "
    return [f"{text}{m.form(best)}, {gap}; {spread}.", "This is one run with one seed; a claim takes many."]
