"""The verdict of a run in plain words: its network beside random ones, and whether the gates moved at all."""

from __future__ import annotations

from typing import Any, NamedTuple

from mimar.core.units import cost, percent
from mimar.report.reading import Event, Run, mapping, measures, number, own


class Measure(NamedTuple):
    """The figure by which networks are judged, "accuracy" where there is one; `way` is its sign where that is known."""

    name: str
    split: str = "test"
    way: int = 0

    @property
    def title(self) -> str:
        """The name with its split: "test accuracy"."""
        return f"{self.split} {self.name}".strip().replace("_", " ")

    @property
    def sign(self) -> int:
        """Which way is better: 1 up, -1 down."""
        return self.way or (-1 if any(word in self.name for word in ("loss", "error", "perplexity")) else 1)

    def form(self, value: float | None) -> str:
        """Return a value as text, a dash where there is none."""
        return percent(value) if self.name == "accuracy" else "–" if value is None else f"{value:.4g}"

    def gap(self, value: float) -> str:
        """Return a difference, without its sign, as text."""
        return f"{100 * abs(value):.2f} points" if self.name == "accuracy" else self.form(abs(value))

    def of(self, trained: Event, split: str | None = None) -> float | None:
        """Return the figure of a trained network."""
        split = self.split if split is None else split
        return number(mapping(trained.get("metrics")).get(f"{split}_{self.name}" if split else self.name))


def measure(run: Run) -> Measure:
    """Return what the networks of a run are judged by."""
    if run.blackbox and not run.trained and run.measures:
        return verdict(run.result)
    names = {k[5:] for t in run.trained for k in mapping(t.get("metrics")) if k.startswith("test_")}
    return Measure(_chief(names))


def verdict(result: dict[str, Any]) -> Measure:
    """Return the figure of a result that its answer is judged by: the primary one on the test set, where it has one.

    Without test figures it is the primary one that the search saw.
    """
    known = measures(result)
    primary = next(iter(known), "")
    stem, tested = primary.removeprefix("valid_"), {k[5:] for k in mapping(result.get("metrics")) if k[:5] == "test_"}
    way = {"min": -1, "max": 1}.get(known.get(primary, ("",))[0], 0)
    if primary and (stem in tested or not tested):
        return Measure(stem, "test" if tested else "valid" if stem != primary else "", way)
    return Measure(_chief(tested))


def _chief(names: set[str]) -> str:
    return "accuracy" if "accuracy" in names or not names else min(names, key=lambda n: (n == "loss", n))


def stage(run: Run) -> str:
    """Say how far an unfinished run is."""
    if run.blackbox and not any(map(own, run.trained)):
        clock = max((number(t.get("ended")) or 0.0 for t in run.trials), default=0.0)
        return f"it is still searching, {len(run.trials):,} queries and {cost(clock, run.unit)} are done"
    if run.trained or run.derived:
        return f"the architecture is derived, {len(run.trained)} networks are trained from scratch so far"
    done, total = (number(run.epochs[-1].get(k)) if run.epochs else None for k in ("epoch", "epochs"))
    return f"it is still searching, {done or 0:.0f} epochs" + (f" of {total:.0f}" if total else "") + " are done"


def standing(run: Run) -> str:
    """Return the verdict in a few words, for the title."""
    m, (n, best, mean, std) = measure(run), run.baseline.values()
    test = m.of(run.network)
    if not run.result:
        return "not finished yet"
    if run.blackbox:
        return _beside(m.sign * (test - best) if n and test is not None and best is not None else None, run)
    if run.moved is False:
        return "has found nothing"
    if not own(run.network):
        return f"the choice among {len(run.trained)} networks"
    if not n or test is None or best is None or mean is None:
        return "nothing to compare with"
    if m.sign * (test - best) < 0:
        return "behind random search"
    above = test != best and m.sign * (test - mean) > (std or 0)
    return f"{'ahead of' if above else 'level with'} random search"


def _beside(ahead: float | None, run: Run) -> str:
    """Say how what a black-box search found stands beside what random search would choose."""
    if run.random:
        return f"the best of {len(run.trials)} random architectures"
    if ahead is None:
        return "nothing to compare with"
    return "level with random search" if ahead == 0 else f"{'ahead of' if ahead > 0 else 'behind'} random search here"


def lead(run: Run) -> list[str]:
    """Return the verdict in full sentences."""
    m, (n, best, mean, std) = measure(run), run.baseline.values()
    test, held = m.of(run.network), m.of(run.network, "valid")
    found = [] if run.result else [f"This run is not finished: {stage(run)}. Below is what it has written so far."]
    if test is None:
        return found or [f"The files of this run hold no test {m.name} of its network."]
    derived = own(run.network)
    what = "derived network, retrained from scratch," if derived else "network chosen among those trained from scratch"
    beside = f" ({m.form(held)} on the data held out to choose among networks)" if held is not None else ""
    found.append(f"The {what} reaches {m.form(test)} test {m.name}{beside}.")
    if not n or best is None or mean is None:
        alone = "No random networks were trained beside it, so this run cannot say whether the search helped."
        return [*found, alone] if run.result else found
    spread = f"mean ± standard deviation {m.form(mean)} ± {m.form(std)} (n = {n:.0f})"
    if not derived:
        return [*found, f"All networks together: {spread}."]
    word = "exactly at" if test == best else f"{m.gap(test - best)} {'above' if test > best else 'below'}"
    beside = (
        f"Random search trained {n:.0f} networks of the same space in the same way. The one that it would choose has "
    )
    beside += f"{m.form(best)}; {spread}. The derived network is {word} random search's choice."
    if std:
        away = (test - mean) / std
        beside += f" It lies {abs(away):.1f} of these deviations {'above' if away > 0 else 'below'} their mean"
        beside += ", within their spread: this run does not tell it from an average one." if abs(away) <= 1 else "."
    return [*found, beside, "This is one run with one seed; a claim about the method takes at least 8."]


def gates(run: Run) -> str:
    """Say whether the gates moved; "" where that is unknown."""
    before, after = run.entropies
    if run.moved is None or before is None or after is None:
        return ""
    fall = (before - after) / before if before > 0 else 0.0
    way = "fell" if fall >= 0 else "rose"
    change = f"their entropy {way} from {before:.3f} to {after:.3f}, by {abs(100 * fall):.1f} %"
    told = (
        "With a fall of less than 10 % the search has found nothing: the derived network is no better founded than a "
    )
    told += "random one, and its figures count as “not tested”, neither for nor against the method."
    return f"The gates moved: {change}." if run.moved else f"The gates did not move: {change}. {told}"


def called(label: object) -> str:
    """Return a network's label as a person reads it: "random-0" is random 1."""
    kind, _, index = str(label).partition("-")
    return f"{kind} {int(index) + 1}" if index.isascii() and index.isdigit() and len(index) < 9 else str(label)
