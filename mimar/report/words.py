"""The verdict of a run in plain words: its network beside random ones, and whether the gates moved at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimar.core.units import percent
from mimar.report.reading import Run, mapping, number

LOWER = ("loss", "error", "perplexity", "latency")  # measures of which less is better


@dataclass(frozen=True)
class Measure:
    """The figure by which networks are judged: "accuracy" where there is one."""

    name: str

    @property
    def lower(self) -> bool:
        """Whether less is better."""
        return any(word in self.name for word in LOWER)

    def form(self, value: float | None) -> str:
        """Return a value as text, a dash where there is none."""
        if self.name == "accuracy":
            return percent(value)
        return "–" if value is None else f"{value:.4g}"

    def of(self, trained: Mapping[str, Any], split: str = "test") -> float | None:
        """Return the figure of a trained network."""
        return number(mapping(trained.get("metrics")).get(f"{split}_{self.name}"))


def measure(run: Run) -> Measure:
    """Return what the networks of a run are judged by."""
    keys = [k[5:] for t in run.trained for k in mapping(t.get("metrics")) if k.startswith("test_")]
    return Measure("accuracy" if "accuracy" in keys or not keys else min(keys, key=lambda k: (k == "loss", k)))


def stage(run: Run) -> str:
    """Say how far an unfinished run is; "" for a finished one."""
    if run.finished:
        return ""
    if not run.derived and not run.retraining:
        last = run.epochs[-1] if run.epochs else {}
        done, total = number(last.get("epoch")), number(last.get("epochs"))
        if done is None:
            return "it has not finished its first epoch of searching"
        return f"it is still searching, epoch {done:.0f}" + (
            f" of {total:.0f} is done" if total is not None else " is done"
        )
    if not run.network:
        return (
            f"the architecture is derived and being retrained, {len(run.retraining.get('derived', []))} epochs are done"
        )
    return f"the derived network is trained, and {len(run.others)} random ones so far"


def standing(run: Run) -> str:
    """Return the verdict in a few words, for the title."""
    m = measure(run)
    test = m.of(run.network)
    best, mean, std = (number(run.baseline.get(k)) for k in ("best", "mean", "std"))
    if not run.finished:
        return "not finished yet"
    if run.moved is False:
        return "has found nothing"
    if test is None or best is None or mean is None:
        return "nothing to compare with"
    sign = -1 if m.lower else 1
    ahead, above, spread = sign * (test - best), sign * (test - mean), std or 0.0
    if abs(above) <= spread or (ahead == 0 and not spread):
        return "level with random search"
    if above < 0 or (ahead < 0 and not spread):
        return "behind random search"
    return "ahead of random search" if ahead >= 0 else "above the average random network, behind the chosen one"


def lead(run: Run) -> list[str]:
    """Return the verdict in full sentences."""
    m = measure(run)
    test, valid = m.of(run.network), m.of(run.network, "valid")
    if not run.finished:
        found = [f"This run is not finished: {stage(run)}. What follows is what it has written so far."]
    else:
        found = []
    if test is None:
        return found + ([] if found else [f"The files of this run hold no test {m.name} of a derived network."])
    held = f" ({m.form(valid)} on the images held out to choose among networks)" if valid is not None else ""
    found.append(f"The derived network, retrained from scratch, reaches {m.form(test)} test {m.name}{held}.")
    return found + _against_random(run, m, test)


def _against_random(run: Run, m: Measure, test: float) -> list[str]:
    n, best, mean, std = (number(run.baseline.get(k)) for k in ("n", "best", "mean", "std"))
    if not n or best is None or mean is None:
        if run.finished:
            return ["No random networks were trained beside it, so this run cannot say whether the search helped."]
        return []
    unit = " points" if m.name == "accuracy" else ""
    difference = abs(test - best) * (100 if m.name == "accuracy" else 1)
    word = "the same as" if test == best else f"{difference:.2f}{unit} {'above' if test > best else 'below'}"
    found = [
        f"Random search trained {n:.0f} network{'s' if n > 1 else ''} of the same space in the same way: the one it would "
        f"choose has {m.form(best)}; mean ± standard deviation {m.form(mean)} ± {m.form(std)} (n = {n:.0f}). "
        f"The derived network is {word} random search's choice."
    ]
    if std:
        away = (test - mean) / std
        where = "above" if away > 0 else "below"
        if abs(away) <= 1:
            found.append(
                f"It lies {abs(away):.1f} standard deviations {where} the random mean, within their spread: this run does "
                "not tell the two apart."
            )
        else:
            found.append(f"It lies {abs(away):.1f} standard deviations {where} the mean of the random networks.")
    return [*found, "This is one run with one seed; a claim about the method takes at least 8."]


def gates(run: Run) -> str:
    """Say whether the gates moved; "" where the run has none."""
    before, after = run.entropies
    if run.moved is None or before is None or after is None:
        return ""
    fall = (before - after) / before if before > 0 else 0.0
    change = (
        f"their entropy {'fell' if fall >= 0 else 'rose'} from {before:.3f} to {after:.3f}, by {abs(100 * fall):.1f} %"
    )
    if run.moved:
        return f"The gates moved: {change}."
    return (
        f"The gates did not move: {change}, where less than a fall of 10 % means that the search has found nothing. "
        "The derived network is no better founded than a random one, and these figures count as “not tested”, "
        "neither for nor against the method."
    )


def network_name(label: object) -> str:
    """Return a network's label as a person reads it: "random-0" is random 1."""
    kind, _, index = str(label).partition("-")
    return f"{kind} {int(index) + 1}" if index.isascii() and index.isdigit() and len(index) < 9 else str(label)
