"""Published figures of benchmark tables, measured again: the same protocol, many runs, random search beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mimar.core.describe import describe
from mimar.study import contest
from mimar.study.claims import Reached
from mimar.study.contest import Arm, Contest
from mimar.study.contest_figures import VERDICT
from mimar.study.ranking import against

BUDGETS = ("queries", "seconds")  # the options that random search gets too


def reached(name: str, claim: Reached, work: Path, workers: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the record of one figure: its runs, what random search reaches under the same budget, the verdict.

    "holds" where the mean lies in the range that was fixed beforehand, "does not hold" where it does not. Runs that are
    there (`mimar.study.contest`) are not made again.
    """
    budget = {key: value for key, value in claim.options.items() if key in BUDGETS}
    given = Contest(
        (Arm("random", "random", budget), Arm(f"{name}@claim", name, claim.options)), claim.task, claim.runs
    )
    runs = contest.run(given, work / given.home, workers=workers, tell=tell)
    random, ours = ([r["trace"][-1][VERDICT] for r in runs[arm.name]] for arm in given.arms)
    optimum = contest.ground(given.arms[1].search(claim.task, 0).session())
    mean = sum(ours) / len(ours)
    low, high = claim.low, claim.high if claim.high is not None else optimum.verdict
    holds = low <= mean <= high + 1e-9
    bounds = f"{claim.low:g} to {claim.high:g}" if claim.high is not None else f"at least {claim.low:g}"
    found = [r["trace"][-1][2] >= optimum.quality - 1e-9 for r in runs[given.arms[1].name]]
    return {
        "claim": claim.text,
        "task": claim.task,
        "options": describe(dict(claim.options)),
        "runs": claim.runs,
        "reached": {
            "mean": mean,
            "std": _std(ours),
            "optimum": sum(found) / len(found),
            "by_run": [round(v, 6) for v in ours],
        },
        "random": {"mean": sum(random) / len(random), "std": _std(random)},
        "own_seconds": sum(r["own_seconds"] for r in runs[given.arms[1].name]) / claim.runs,
        "queries": sum(r["queries"] for r in runs[given.arms[1].name]) / claim.runs,
        "table": given.table.digest(),
        "published": claim.published,
        "comparison": None if name == "random" else against({"ours": ours}, random)["ours"].to_json(),
        "verdict": "holds" if holds else "does not hold",
        "why": f"the mean is {mean:.4f}, expected {bounds}",
    }


def _std(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return float((sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1)) ** 0.5)
