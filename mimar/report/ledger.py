"""What a black-box search was charged, in queries and in its unit of cost, and for what."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mimar.core.units import cost, seconds
from mimar.report.history import NAMES
from mimar.report.markup import Markup, table, tag
from mimar.report.reading import Run, mapping, number
from mimar.report.trials import Tried


def ledger(run: Run, trials: Sequence[Tried]) -> Markup:
    """Return the ledger as a table: measured, failed by kind, lost, prepared, and the sum; what was free below."""
    if not trials and not run.result:
        return Markup()
    held = {k: number(v) or 0.0 for k, v in mapping(run.result.get("ledger")).items()}
    own = math.fsum(t.cost for t in trials)
    rows: list[tuple[str, float | None, float]] = []
    for status in sorted({t.status for t in trials}, key=lambda s: (s != "ok", s)):
        part = [t for t in trials if t.status == status]
        name = "measured" if status == "ok" else NAMES.get(status, status)
        rows.append((name, len(part), math.fsum(t.cost for t in part)))
    prepared, whole = held.get("prepared", 0.0), held.get("cost", own)
    if held.get("lost"):
        rows.append(("under way when the budget ended", held["lost"], max(whole - own - prepared, 0.0)))
    if prepared:
        rows.append(("preparation", None, prepared))
    rows.append(("all", held.get("queries", float(len(trials))), whole))
    if again := [t for t in trials if t.repeated]:
        rows.append(("of these measured before", len(again), math.fsum(t.cost for t in again)))
    counted = run.unit == "queries"  # a table without costs: both currencies are one
    head = ("", "queries") if counted else ("", "queries", f"cost{run.simulated}")
    body = [(name, "–" if n is None else f"{n:,.0f}", *([] if counted else [cost(c, run.unit)])) for name, n, c in rows]
    return table(head, body) + tag("p", " ".join(_hints(run, trials, held)), class_="hint")


def _hints(run: Run, trials: Sequence[Tried], held: dict[str, float]) -> list[str]:
    found = []
    clock = held.get("clock", max((t.ended for t in trials), default=0.0))
    protocol = mapping(mapping(run.header.get("tree")).get("trials"))
    workers = number(protocol.get("workers")) or 1
    if workers > 1:
        found.append(f"{workers:.0f} workers measured at once, so that {cost(clock, run.unit)} passed on the clock.")
    if held.get("infeasible"):
        found.append(f"{held['infeasible']:,.0f} proposals broke a limit and were refused before a query was spent.")
    if protocol.get("duplicates") == "free" and held.get("repeated"):
        found.append(f"{held['repeated']:,.0f} proposals had been measured before and were answered for free.")
    beside = number(mapping(run.result.get("budget")).get("baseline"))
    if beside:
        found.append(f"The random networks beside it cost {cost(beside, run.unit)}.")
    retraining = number(mapping(run.result.get("budget")).get("retrain"))
    if retraining:
        found.append(f"Training what was found cost {cost(retraining, run.unit)}.")
    if run.result and not run.trained:
        found.append("Random search beside it had the same again, which is not charged here.")
    if run.seconds is not None:
        found.append(f"Wall time of everything: {seconds(run.seconds)}.")
    return [text for text in found if text]
