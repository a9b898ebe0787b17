"""What is said of a black-box search: how far it is, its best trial, what it spent, and its front."""

from __future__ import annotations

from typing import Any

from mimar.core.errors import RunError
from mimar.objectives import front
from mimar.search.finish import plain
from mimar.search.session import Session, best, full
from mimar.space import Trial


def incumbent(session: Session) -> Trial:
    """Return the best trial; raises RunError where none gave a figure."""
    found = best(session.trials)
    if found is None:
        raise RunError(f"none of {len(session.trials)} evaluations gave a figure, so that nothing was found")
    return found


def described(session: Session) -> dict[str, Any]:
    """Return what is said of the search itself: what it spent, how its incumbent rose, and the front if there is one."""
    of, measures = session.terms.evaluator, [list(measure) for measure in session.terms.evaluator.measures]
    found: dict[str, Any] = {"ledger": vars(session.ledger), "unit": of.unit, "measures": measures}
    if session.terms.workers > 1:
        found["workers"] = {"count": session.terms.workers, "utilisation": session.utilisation}
    top: Trial | None = None
    trace = []
    for n, trial in enumerate(session.trials, start=1):
        now = best([t for t in (top, trial) if t is not None])
        if now is not None and now is not top:
            top = now
            trace.append([n, trial.ended, list(trial.values), trial.number])
    found["incumbents"] = trace
    good = full([t for t in session.trials if t.values])
    if good and len(good[0].values) > 1:
        members = {good[i].architecture: good[i] for i in front([t.values for t in good])}
        found["front"] = [{"architecture": plain(a), "values": list(t.values)} for a, t in members.items()]
    return found


def progress(session: Session) -> tuple[int, int, dict[str, float]]:
    """Return how much of the budget is spent and how much there is, in queries or in whole units of cost, and figures."""
    terms, ledger, top = session.terms, session.ledger, best(session.trials)
    name, figures = terms.evaluator.measures[0].name, {terms.evaluator.unit: ledger.clock, "queries": ledger.queries}
    figures |= {} if top is None else {f"best {name.replace('_', ' ')}": top.result.metrics[name]}
    if terms.queries is not None:
        return ledger.queries, terms.queries, figures
    return int(ledger.clock), int(terms.cost or 0), figures
