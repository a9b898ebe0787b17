"""The figures of a comparison: from the results of its cells to one JSON object, by recipe, beside random search.

Everything is a function of what the cells wrote, so that a study with cells still to come has figures too.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mimar.core.errors import DataAbsentError
from mimar.search.budget import baseline_size
from mimar.search.finish import summary
from mimar.study import cells, lookup
from mimar.study.architectures import distance, free_operations
from mimar.study.statistics import FEWEST, compare

MOST_UNMOVED = 0.25  # of the seeds
Result = Mapping[str, Any]
Seeds = Mapping[int, Result]
Free = Mapping[str, frozenset[str]]


def size(result: Result) -> int:
    """Return how many random networks cost as much as a search and its final training."""
    return baseline_size(result["budget"]["search"], result["budget"]["retrain"])


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Return {n, mean, std, min, max} of the values that are there; std is that of a sample, None where there is none."""
    held = [v for v in values if v is not None]
    body: dict[str, Any] = {"n": len(held), "mean": None, "std": None, "min": None, "max": None}
    if held:
        body |= {"mean": statistics.fmean(held), "min": min(held), "max": max(held)}
    return body | ({"std": statistics.stdev(held)} if len(held) > 1 else {})


def of_recipe(ours: Seeds, randoms: Seeds, free: Free, layout: str | None) -> dict[str, Any]:
    """Return the figures of one recipe: `ours` and `randoms` are results by seed, one random search for all recipes.

    Of every random search only the beginning counts that costs as much as the recipe under the same seed.
    """
    seeds = sorted(ours)
    results = [ours[s] for s in seeds]
    tests = [r["metrics"]["test_accuracy"] for r in results]
    chosen = [r["architecture"] for r in results]
    pairs = [s for s in seeds if s in randoms]
    beside = {s: summary(list(randoms[s]["trained"][: size(ours[s])])) for s in pairs}
    unmoved = sum(_supernet(ours[s]).get("moved") is False for s in pairs)
    pair = [ours[s]["metrics"]["test_accuracy"] for s in pairs], [beside[s]["best"] for s in pairs]
    gaps = [_gap(r) for r in results]
    counts = [free_operations(a, free) for a in chosen]
    spent = {key: [r["budget"][key] for r in results] for key in ("search", "retrain")}
    return {
        "seeds": seeds,
        "accuracy": {**spread(tests), "by_seed": tests},
        "random": {
            **spread(pair[1]),
            "seeds": pairs,
            "by_seed": pair[1],
            "networks": [beside[s]["n"] for s in pairs],
            "mean_network": [beside[s]["mean"] for s in pairs],
        },
        **judged(pair, unmoved),
        "unmoved": unmoved,
        "distance": distance(chosen),
        "free_operations": {**spread(counts), "by_seed": counts},
        "gap": {**spread(gaps), "by_seed": gaps},
        "cost": {
            **{key: spread(values) for key, values in spent.items()},
            "seconds": spread([cells.seconds(r) for r in results]),
            "random_seconds": spread([_seconds(randoms[s], beside[s]["n"]) for s in pairs]),
        },
        "architectures": chosen,
        "table": _table(chosen, layout),
    }


def of_random(randoms: Seeds, free: Free, layout: str | None) -> dict[str, Any]:
    """Return the figures of random search at its whole size, the dearest recipe's budget, and its curve."""
    seeds = sorted(randoms)
    trained = [randoms[s]["trained"] for s in seeds]
    best = [summary(list(networks))["best"] for networks in trained]
    chosen = [_chosen(networks)["architecture"] for networks in trained]
    counts = [free_operations(a, free) for a in chosen]
    each = [t["metrics"]["test_accuracy"] for networks in trained for t in networks]
    drawn = [t["architecture"] for networks in trained for t in networks]
    return {
        "seeds": seeds,
        "networks": [len(networks) for networks in trained],
        "accuracy": {**spread(best), "by_seed": best},
        "every_network": spread(each),
        "distance": distance(chosen),
        "free_operations": {**spread(counts), "by_seed": counts},
        "cost": {
            "search": spread([sum(t["budget"] for t in networks) for networks in trained]),
            "seconds": spread([randoms[s]["seconds"] for s in seeds]),
        },
        "architectures": chosen,
        "table": _table(chosen, layout),
        "table_every": _table(drawn, layout),
        "curve": curve(trained),
    }


def curve(trained: Sequence[Sequence[Result]]) -> list[dict[str, Any]]:
    """Return after k = 1, 2, … networks the mean cost so far and the test accuracy of the one that the holdout chooses.

    As far as the shortest of the searches goes, so that every point is a mean over all of them.
    """
    found = []
    spent = [list(itertools.accumulate(t["budget"] for t in networks)) for networks in trained]
    for k in range(min(map(len, trained), default=0)):
        best = [_chosen(networks[: k + 1])["metrics"]["test_accuracy"] for networks in trained]
        held = spread(best)
        found.append(
            {"n": k + 1, "cost": statistics.fmean(s[k] for s in spent), **{x: held[x] for x in ("mean", "std")}}
        )
    return found


def judged(pair: tuple[Sequence[float], Sequence[float]], unmoved: int) -> dict[str, Any]:
    """Return the one comparison with random search, its verdict, and why it is that.

    "better", "worse" or "no difference shown"; "not tested" with fewer than 8 seeds, or where the gates did not move in
    more than a quarter of them.
    """
    n = len(pair[0])
    if n < FEWEST:
        return {"comparison": None, "verdict": "not tested", "why": f"fewer than {FEWEST} seeds"}
    held = _compared(*pair)
    if unmoved > MOST_UNMOVED * n:
        why = f"the gates did not move in {unmoved} of {n} seeds"
        return {"comparison": held, "verdict": "not tested", "why": why}
    return {"comparison": held, "verdict": held["verdict"], "why": f"p = {held['p']:.3g}"}


def _compared(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    if len({*ours, *theirs}) == 1:  # all figures equal: nothing to rank, for which the test has no p
        same = {"n": len(ours), "mean": ours[0], "std": 0.0, "mean_theirs": ours[0], "std_theirs": 0.0}
        same |= {"difference": 0.0, "p": 1.0, "effect": 0.5, "detectable": 0.0}
        return same | {"verdict": "no difference shown"}
    return compare(ours, theirs).to_json()


def _supernet(result: Result) -> Mapping[str, Any]:
    return result.get("supernet") or {}


def _gap(result: Result) -> float | None:
    """Return the supernet's accuracy minus that of the derived network with its weights; None without a supernet."""
    mixed, derived = (_supernet(result).get(key) for key in ("valid_accuracy", "derived_accuracy"))
    return None if mixed is None or derived is None else float(mixed) - float(derived)


def _chosen(networks: Sequence[Result]) -> Result:
    return max(networks, key=lambda t: t["metrics"]["valid_accuracy"])


def _seconds(random: Result, networks: int) -> float:
    """Return the wall time of the first `networks` of a random search: its time in proportion."""
    return float(random["seconds"]) * networks / len(random["trained"])


def _table(architectures: Sequence[Mapping[str, Any]], layout: str | None) -> dict[str, Any] | None:
    """Return what the real benchmark table says of cells, by data set; None where space or machine have no table."""
    if layout != "nasbench201" or not architectures:
        return None
    try:
        return {
            name: {**spread(values), "by_seed": values} for name, values in lookup.nasbench201(architectures).items()
        }
    except DataAbsentError:
        return None
