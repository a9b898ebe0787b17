"""What a contest says: accuracy and regret at the end and on the way, P(optimum), and every arm against random search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mimar import recipes
from mimar.evaluators.table import Table
from mimar.study.contest import Contest, Ground, ground
from mimar.study.ranking import FEWEST, LEVEL, against

Runs = Mapping[str, Sequence[Mapping[str, Any]]]
POINTS = 60  # of a curve
QUALITY, VERDICT = 2, 3  # places in a line of a trace
WATT = 250.0  # of the machine of the original trainings, for the energy of a search
FREE = ("params", "macs")  # known costs whose largest value is a search without a query
EXACT = 1e-9


def figures(contest: Contest, runs: Runs) -> dict[str, Any]:
    """Return all figures of a contest as JSON, random search first among the arms that it is compared with."""
    session = contest.arms[0].search(contest.task, 0).session()
    there = ground(session)
    table, terms = contest.table, session.terms
    random = next(arm.name for arm in contest.arms if arm.recipe == "random")
    ends = {name: [_end(r, VERDICT) for r in kept] for name, kept in runs.items()}
    tests: dict[str, Any] = {}
    if contest.runs >= FEWEST:
        others = {name: values for name, values in ends.items() if name != random}
        tests = {name: v.to_json() for name, v in against(others, ends[random]).items()}
    spent = {"queries": max(r["queries"] for kept in runs.values() for r in kept)}
    spent["clock"] = terms.cost or max(r["clock"] for kept in runs.values() for r in kept)
    rows = []
    for arm in contest.arms:
        kept = runs[arm.name]
        rows.append(
            {
                "name": arm.name,
                "recipe": arm.recipe,
                "tier": recipes.load(arm.recipe)[0].TIER,
                "options": {key: str(value) for key, value in arm.options.items()},
                "versus": tests.get(arm.name),
                **_arm(kept, there, ends[arm.name]),
                "curves": {
                    "queries": _curve(kept, 0, spent["queries"], there),
                    "clock": _curve(kept, 1, spent["clock"], there),
                },
            }
        )
    return {
        "contest": contest.describe(),
        "measure": _measure(table, there),
        "unit": table.unit,
        "best": {"quality": there.quality, "verdict": there.verdict, "rows": there.rows},
        "random": random,
        "budget": {"queries": terms.queries, "cost": terms.cost, "workers": terms.workers},
        "protocol": _protocol(session),
        "level": LEVEL,
        "arms": rows,
        "phases": _phases(there),
        "free": [_free(table, name, session) for name in FREE if any(c.measure.name == name for c in table.known)],
    }


def _phases(there: Ground) -> dict[str, float | None]:
    """Return Kendall's τ between what a search sees and the verdict: over all rows, and among the best 10 % and 1 %."""
    if not there.seen:
        return {}
    from scipy import stats

    seen, said = np.asarray(there.seen), np.asarray(there.said)
    order = np.argsort(-said, kind="stable")
    found = {}
    for name, share in (("all", 1.0), ("best 10 %", 0.1), ("best 1 %", 0.01)):
        best = order[: max(round(share * len(order)), 1)]
        tau = float(stats.kendalltau(seen[best], said[best]).statistic) if len(best) > 2 else float("nan")
        found[name] = None if np.isnan(tau) else tau
    return found


def _surpassed(ends: Any, there: Ground) -> float | None:
    """Return P(the verdict on a run's incumbent > that on a row drawn at random) + ½ P(equal)."""
    if not there.said or not np.isfinite(ends).any():
        return None
    said = np.sort(np.asarray(there.said))
    ends = ends[np.isfinite(ends)]
    below, upto = np.searchsorted(said, ends - EXACT), np.searchsorted(said, ends + EXACT)
    return float(np.mean((below + upto) / 2) / len(said))


def _measure(table: Table, there: Ground) -> dict[str, str]:
    """Return how the verdict is called, which way is better, and how it is written."""
    if there.reference is not None:
        return {"name": "hypervolume", "direction": "max", "form": "number"}
    measure = (table.final or table.measured)[0].measure
    return {
        "name": measure.name,
        "direction": measure.direction,
        "form": "percent" if "accuracy" in measure.name else "number",
    }


def _protocol(session: Any) -> dict[str, str]:
    terms = session.terms
    return {
        "objective": repr(terms.objective),
        "limits": ", ".join(map(str, terms.limits)) or "none",
        "scheduler": type(session.course).__name__,
        "workers": str(terms.workers),
        "duplicates": "free" if terms.free_duplicates else "charged",
        "timeout": "none" if terms.timeout is None else f"{terms.timeout:g}",
    }


def _end(run: Mapping[str, Any], column: int) -> float:
    return float(run["trace"][-1][column]) if run["trace"] else float("nan")


def _arm(kept: Sequence[Mapping[str, Any]], there: Ground, ends: Sequence[float]) -> dict[str, Any]:
    verdicts = np.asarray(ends)
    quality = np.asarray([_end(r, QUALITY) for r in kept])
    lost = there.verdict - verdicts
    found = float(np.mean(quality >= there.quality - EXACT))
    return {
        "verdict": _spread(verdicts),
        "regret": _spread(lost),
        "valid_regret": _spread(there.quality - quality),
        "optimum": found,
        "surpasses": _surpassed(verdicts, there),
        "log_area": _log_area(kept, there),
        "queries": _spread(np.asarray([r["queries"] for r in kept], dtype=float)),
        "cost": _spread(np.asarray([r["cost"] for r in kept])),
        "own_seconds": _spread(np.asarray([r["own_seconds"] for r in kept])),
        "mean_measured": _spread(np.asarray([np.nan if r["mean"] is None else r["mean"] for r in kept])),
        "repeated": float(np.mean([r["repeated"] / max(r["queries"], 1) for r in kept])),
        "failed": float(np.mean([r["failed"] / max(r["queries"], 1) for r in kept])),
        "utilisation": float(np.mean([r["cost"] / r["clock"] if r["clock"] else 0.0 for r in kept])),
        "kwh": float(np.mean([r["cost"] for r in kept])) * WATT / 3.6e6,
        "ends": [round(v, 8) for v in verdicts.tolist()],
    }


def _spread(values: Any) -> dict[str, float | None]:
    there = values[np.isfinite(values)]
    if not len(there):
        return dict.fromkeys(("mean", "std", "median", "low", "high", "min", "max"))
    low, median, high = np.quantile(there, [0.25, 0.5, 0.75])
    std = float(there.std(ddof=1)) if len(there) > 1 else None
    ends = {"min": float(there.min()), "max": float(there.max())}
    return {
        "mean": float(there.mean()),
        "std": std,
        "median": float(median),
        "low": float(low),
        "high": float(high),
    } | ends


def _curve(kept: Sequence[Mapping[str, Any]], column: int, most: float, there: Ground) -> dict[str, list[float | None]]:
    """Return the verdict's regret on the way: mean, standard error, median and quartiles at `POINTS` budgets."""
    places = np.unique(np.round(np.geomspace(1, max(most, 2), POINTS)))
    if column == 1:
        places = np.geomspace(max(most / 200, 1e-9), most, POINTS)
    lost = np.stack([_at(r["trace"], column, places, there.verdict) for r in kept])  # (runs, points)
    found: dict[str, list[float | None]] = {"at": places.tolist()}
    everyone = np.isfinite(lost).all(0)

    def line(values: Any) -> list[float | None]:
        return [round(float(v), 8) if ok else None for v, ok in zip(values, everyone, strict=True)]

    filled = np.where(everyone, lost, 0.0)
    found["mean"], found["error"] = line(filled.mean(0)), line(filled.std(0, ddof=0) / np.sqrt(len(kept)))
    for name, share in (("low", 0.25), ("median", 0.5), ("high", 0.75)):
        found[name] = line(np.quantile(filled, share, axis=0))
    return found


def _at(trace: Sequence[Sequence[float]], column: int, places: Any, best: float) -> Any:
    """Return the regret of the incumbent at each place; NaN before the first one."""
    if not trace:
        return np.full(len(places), np.nan)
    when = np.asarray([t[column] for t in trace])
    lost = np.asarray([best - t[VERDICT] for t in trace])
    index = np.searchsorted(when, places, side="right") - 1
    return np.where(index >= 0, lost[np.maximum(index, 0)], np.nan)


def _log_area(kept: Sequence[Mapping[str, Any]], there: Ground) -> float | None:
    """Return the mean over queries and runs of log10(validation regret + 1e-4): the area under the log-regret curve."""
    found = []
    for r in kept:
        if not r["trace"]:
            continue
        places = np.arange(r["trace"][0][0], r["queries"] + 1)
        when = np.asarray([t[0] for t in r["trace"]])
        lost = np.asarray([there.quality - t[QUALITY] for t in r["trace"]])
        index = np.searchsorted(when, places, side="right") - 1
        found.append(float(np.mean(np.log10(np.maximum(lost[index], 0.0) + 1e-4))))
    return float(np.mean(found)) if found else None


def _free(table: Table, name: str, session: Any) -> dict[str, Any]:
    """Return what a search without a query finds: the row with the largest known cost within the limits; ties share."""
    rows = list(table.rows.architectures)
    if session.terms.limits:
        rows = [a for a in rows if all(limit.feasible(table.costs(a)) for limit in session.terms.limits)]
    costs = [table.costs(a)[name] for a in rows]
    most = max(costs)
    tied = [a for a, c in zip(rows, costs, strict=True) if c == most]
    verdicts = [_final(table, a) for a in tied]
    return {"name": f"most {name}", "verdict": float(np.mean(verdicts)), "rows": len(tied)}


def _final(table: Table, architecture: Any) -> float:
    final = table.verdict(architecture)
    if final:
        return float(next(iter(final.values())))
    from mimar.space import Proposal

    return float(table.evaluate(Proposal(architecture)).metrics[table.measured[0].measure.name])


def former(measure: Mapping[str, str]) -> Callable[[float | None], str]:
    """Return how a verdict is written: a percentage without its sign, or a short number."""
    if measure["form"] == "percent":
        return lambda v: "–" if v is None else f"{100 * abs(v):.2f}"
    return lambda v: "–" if v is None else f"{abs(v):.4g}"
