"""Several fidelities: how many were measured at each, and how far a cheap figure ranks as a dear one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from mimar.core.units import cost
from mimar.report.markup import Markup, figure, table, tag
from mimar.report.reading import Run
from mimar.report.scatter import Axis, Marks, scatter
from mimar.report.trials import Aim, Tried, leaders

FEWEST = 3  # pairs that a rank correlation takes


class Pair(NamedTuple):
    """Two rungs and the mean figures of the architectures measured on both."""

    low: str
    high: str
    points: list[tuple[float, float]]

    @property
    def tau(self) -> float | None:
        """Kendall's τ-b; None of fewer than three architectures, or where a rung tells none apart."""
        if len(self.points) < FEWEST:
            return None
        from scipy.stats import kendalltau

        found = float(kendalltau(*zip(*self.points, strict=True)).statistic)
        return None if math.isnan(found) else found


def section(run: Run, trials: Sequence[Tried], aim: Aim) -> Markup:
    """Return the rungs as a table, their correlations, and the pairs as pictures; "" where there is one fidelity."""
    heights = sorted({t.height for t in trials})
    if len(heights) < 2:
        return Markup()
    rows = []
    for height in heights:
        own = [t for t in trials if t.height == height]
        going, led = sum(t.since is not None for t in own), leaders(own)
        best = aim.form(aim.of(led[-1])) if led else "–"
        spent = cost(math.fsum(t.cost for t in own), run.unit)
        rows.append(
            (
                f"fidelity {own[0].rung}",
                f"{len(own):,}",
                f"{going:,}",
                f"{sum(not t.values for t in own):,}",
                spent,
                best,
            )
        )
    head = ("rung", "trials", "promoted", "without value", "cost", f"best {aim.label}")
    found = pairs(trials, aim)
    told = [(f"{p.low} and {p.high}", f"{len(p.points):,}", "–" if p.tau is None else f"{p.tau:.2f}") for p in found]
    hint = (
        "Kendall's τ over the architectures measured on both rungs: 1 is the same order, 0 none. Only the best go on, "
    )
    hint += "which makes it smaller than it is over the space."
    body = table(head, rows, "promoted: went on from a lower rung")
    if not told:
        return body
    pictures = [_picture(p, aim) for p in found if p.points]
    return (
        body
        + table(("rungs", "on both", "τ"), told)
        + tag("p", hint, class_="hint")
        + tag("div", *pictures, class_="grid")
    )


def pairs(trials: Sequence[Tried], aim: Aim) -> list[Pair]:
    """Return every two rungs that share an architecture, lowest first."""
    values: dict[float, dict[str, list[float]]] = {}
    names = {t.height: t.rung for t in trials}
    for t in trials:
        if len(t.values) > aim.place:
            values.setdefault(t.height, {}).setdefault(t.digest, []).append(aim.of(t))
    found = []
    for low, high in combinations(sorted(values), 2):
        both = [digest for digest in values[low] if digest in values[high]]
        points = [(statistics.fmean(values[low][d]), statistics.fmean(values[high][d])) for d in both]
        if points:
            found.append(Pair(names[low], names[high], points))
    return found


def _picture(pair: Pair, aim: Aim) -> Markup:
    across, up = Axis(f"at fidelity {pair.low}", aim.tick), Axis(f"at fidelity {pair.high}", aim.tick)
    title = f"{aim.label} at fidelity {pair.high} against {pair.low}"
    return figure(scatter(title, across, up, [Marks("architectures", pair.points, 0, "dot", 2.6)]), title)
