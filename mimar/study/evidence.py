"""Evidence: run a recipe's behavioural checks and record figures and verdict, whatever they are.

A verdict is "holds", "does not hold", or "not tested": where the gates did not move (entropy fell by less than 10 % in
more than a quarter of the seeds), or where the difference is below what the test could have detected.
"""

from __future__ import annotations

import importlib
import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mimar import recipes, runs
from mimar.core.describe import PART, describe, digest
from mimar.core.errors import DataAbsentError, UsageError, nearest
from mimar.search.finish import summary
from mimar.study import cells, lookup
from mimar.study.cells import Cell
from mimar.study.claims import CLAIMS, BeatsRandom, Beside, Claim, NearUnroll, Reached, Teaches, options
from mimar.study.figures import MOST_UNMOVED, size
from mimar.study.reached import reached
from mimar.study.statistics import Comparison, compare

FOLDER = Path("evidence")
WORK = Path("runs") / "evidence"
FAMILY = Path("runs") / "family"

Tell = Callable[[str], None]
Results = Sequence[dict[str, Any]]
Found = dict[Cell, dict[str, Any]]


def names() -> list[str]:
    """Return the recipes that have behavioural checks."""
    return sorted(CLAIMS)


def identity(recipe: str) -> dict[str, Any]:
    """Return what a record is valid for: the hash of the recipe at its defaults, and its parts' results-versions."""
    tree = describe(recipes.load(recipe)[1]())
    return {"hash": digest(tree), "parts": dict(sorted(_parts(tree)))}


def _parts(tree: Any) -> Iterable[tuple[str, int]]:
    if isinstance(tree, dict):
        if PART in tree:
            module, _, name = tree[PART].rpartition(".")
            part = getattr(importlib.import_module(module), name)
            if (version := getattr(part, "version", None)) is not None:
                yield name, version
        for value in tree.values():
            yield from _parts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _parts(value)


def stale(folder: Path = FOLDER) -> list[str]:
    """Return a sentence for every record that no longer belongs to its recipe."""
    found = []
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        if "recipe" not in record:
            continue  # a comparison: it says itself which versions it ran
        for key, now in identity(record["recipe"]).items():
            if record[key] != now:
                found.append(
                    f"{path.name}: {key} was {record[key]} and is {now}; run mimar evidence {record['recipe']}"
                )
    return found


def record(
    wanted: Sequence[str] = (), *, folder: Path = FOLDER, work: Path = WORK, workers: int = 1, progress: Tell = print
) -> list[Path]:
    """Measure the claims of the recipes named (all with claims if none) and write evidence/RECIPE.json for each.

    Resumable: every search is a run under `work`, taken as it is where finished. Raises UsageError for unknown names.
    """
    for name in wanted:
        if name not in CLAIMS:
            recipes.load(name)  # an unknown recipe has its own sentence
            raise UsageError(f"no behavioural check is fixed for {name!r} yet; {nearest(name, CLAIMS, kind='check')}")
    chosen = list(wanted) or names()
    claims = [(name, claim) for name in chosen for claim in CLAIMS[name]]
    searches = dict.fromkeys(c for name, claim in claims for c in _searches(name, claim))
    roots = [work, *sorted(FAMILY.glob("*/cells"))]  # what the comparison has run is not run again
    found = {c: cells.run(c, str(r)) for c in searches for r in roots if (r / c.folder / "result.json").exists()}
    missing = [c for c in searches if c not in found]
    found |= cells.run_all(missing, str(work), workers=workers, tell=progress) if missing else {}
    needed = _randoms(claims, found)
    randoms = {c: r for root in roots for c, r in _there(needed, root).items()}
    missing = [c for c in needed if c not in randoms]
    randoms |= cells.run_all(missing, str(work), workers=workers, tell=progress) if missing else {}
    written = []
    for name in chosen:
        entries = [_entry(name, claim, found, randoms, work, workers, progress) for claim in CLAIMS[name]]
        versions = {**runs.versions(), "threads": 1}  # what every figure is computed on
        body = {"recipe": name, **identity(name), "versions": versions, "claims": entries}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.json"
        path.write_text(json.dumps(body, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        written.append(path)
    return written


def _entry(
    name: str, claim: Claim, found: Found, randoms: Found, work: Path, workers: int, tell: Tell
) -> dict[str, Any]:
    """Return the record of one claim."""
    if isinstance(claim, NearUnroll):
        return near_unroll(claim, workers, tell)
    if isinstance(claim, Teaches):
        return teaches(claim, workers, tell)
    if isinstance(claim, Reached):
        return reached(name, claim, work, workers, tell)
    if isinstance(claim, Beside):
        ours, theirs = ([found[c] for c in side] for side in _sides(name, claim))
        return beside(claim, ours, theirs)
    return beats_random(claim, *_both(name, claim, found, randoms))


def _searches(name: str, claim: Claim) -> list[Cell]:
    """Return the searches that a claim rests on."""
    if isinstance(claim, Beside):
        return [cell for side in _sides(name, claim) for cell in side]
    if isinstance(claim, BeatsRandom):
        return [Cell(name, {**options(name, claim), "task": claim.task, "seed": seed}) for seed in claim.seeds]
    return []


def _sides(name: str, claim: Beside) -> tuple[list[Cell], list[Cell]]:
    """Return the searches of both sides, seed by seed."""
    both = []
    for recipe, more in ((name, claim.own), (claim.other, claim.theirs)):
        given = {**options(recipe, claim), **more, "task": claim.task}
        both.append([Cell(recipe, {**given, "seed": seed}) for seed in claim.seeds])
    return both[0], both[1]


def _randoms(claims: Sequence[tuple[str, Any]], found: Found) -> list[Cell]:
    """Return one random search a task and seed, as large as the dearest recipe asks; cheaper ones take its beginning.

    None for recipes that train random networks of their own kind.
    """
    needed: dict[tuple[str, int], tuple[int, BeatsRandom]] = {}
    for name, claim in claims:
        if isinstance(claim, BeatsRandom) and not cells.lasting(name):
            for cell in _searches(name, claim):
                key = (claim.task, cell.options["seed"])
                needed[key] = (max(size(found[cell]), needed.get(key, (0, claim))[0]), claim)
    same = ("net", "retrain", "device")
    return [
        Cell("random", {"task": t, "seed": s, "queries": n} | {k: c.options[k] for k in same if k in c.options})
        for (t, s), (n, c) in needed.items()
    ]


def _there(needed: Sequence[Cell], work: Path) -> Found:
    """Return for cells that need not run the result of a finished random search that is the same but larger."""
    found: Found = {}
    for cell in needed:
        head = cell.folder.rpartition("-")[0]
        for path in sorted(work.glob(f"{head}-*/result.json")):
            with runs.open_run(path.parent) as store:
                networks = int(store.header["tree"]["queries"])
            larger = Cell("random", {**cell.options, "queries": networks})
            if networks >= cell.options["queries"] and larger.folder == path.parent.name:
                found[cell] = cells.run(larger, str(work))
    return found


def _both(name: str, claim: BeatsRandom, found: Found, randoms: Found) -> tuple[Results, Sequence[Results]]:
    """Return the results of a claim's searches, and of each its random networks: as many as cost the same."""
    ours = [found[c] for c in _searches(name, claim)]
    if cells.lasting(name):
        return ours, [cells.own_random(r) for r in ours]
    by_seed = {c.options["seed"]: r for c, r in randoms.items() if c.options["task"] == claim.task}
    return ours, [by_seed[s]["trained"][: size(r)] for s, r in zip(claim.seeds, ours, strict=True)]


def beats_random(claim: BeatsRandom, ours: Results, randoms: Sequence[Results]) -> dict[str, Any]:
    """Return the record of one claim: figures by seed, the comparison, the gates, the table, the verdict."""
    summaries = [summary(list(networks)) for networks in randoms]
    derived = [r["metrics"]["test_accuracy"] for r in ours]
    test = compare(derived, [s["best"] for s in summaries])
    held = [r["supernet"] for r in ours]
    entropies = [[h["entropy_before"], h["entropy_after"]] for h in held if "entropy_before" in h]
    unmoved = sum(h.get("moved") is False for h in held)
    if unmoved > MOST_UNMOVED * len(ours):
        verdict, why = "not tested", f"the gates did not move in {unmoved} of {len(ours)} seeds"
    else:
        verdict, why = judged(test)
    return {
        "claim": claim.text,
        "task": claim.task,
        "options": describe(dict(claim.options)),
        "seeds": list(claim.seeds),
        "derived": derived,
        "random": {key: [s[key] for s in summaries] for key in ("n", "best", "mean", "std")},
        "comparison": test.to_json(),
        "entropy": entropies,
        "skips": [r["supernet"]["skips"] for r in ours],
        "seconds": [cells.seconds(r) for r in ours],
        "architectures": [r["architecture"] for r in ours],
        "table": _table(ours, randoms),
        "verdict": verdict,
        "why": why,
    }


def _table(ours: Results, randoms: Sequence[Results]) -> dict[str, Any]:
    """Return what the real NAS-Bench-201 says of the derived and the random cells (CIFAR-10 test, 200 epochs, %)."""
    try:
        derived = lookup.nasbench201(r["architecture"] for r in ours)["cifar10"]
        drawn = lookup.nasbench201(t["architecture"] for networks in randoms for t in networks)["cifar10"]
    except (DataAbsentError, UsageError) as error:
        return {"absent": str(error)}
    spread = {"mean": statistics.fmean(derived), "std": statistics.stdev(derived)}
    return {"derived": derived, **spread, "random_mean": statistics.fmean(drawn), "marks": lookup.MARKS}


def beside(claim: Beside, ours: Results, theirs: Results) -> dict[str, Any]:
    """Return the record of a comparison of two recipes on one figure: figures by seed, the test, the verdict."""
    mine, others = ([float(claim.figure.of(r)) for r in side] for side in (ours, theirs))
    sign = 1.0 if claim.figure.more else -1.0
    test = compare([sign * v for v in mine], [sign * claim.factor * v for v in others])
    verdict, why = judged(test)
    return {
        "claim": claim.text,
        "task": claim.task,
        "options": describe({**claim.options, "own": dict(claim.own), "theirs": dict(claim.theirs)}),
        "seeds": list(claim.seeds),
        "figure": claim.figure.name,
        "factor": claim.factor,
        "ours": mine,
        "theirs": others,
        "other": claim.other,
        "comparison": test.to_json(),
        "verdict": verdict,
        "why": why,
    }


def teaches(claim: Teaches, workers: int, tell: Tell) -> dict[str, Any]:
    """Return the record of the claim on learned data: accuracies and rank correlations by seed, the test, the verdict."""
    measured: list[dict[str, Any]] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(one_thread_lesson, claim.seeds):
            measured.append(found)
            tell(f"learned data: seed {found['seed']}")
    test = compare(*([m[key] for m in measured] for key in ("synthetic", "real")))
    verdict, why = judged(test)
    body: dict[str, Any] = {"claim": claim.text, "task": "digits", "seeds": list(claim.seeds), "measured": measured}
    body |= {"spearman": [m["spearman"] for m in measured], "figure": "the accuracy after 32 steps", "factor": 1.0}
    body |= {"ours": [m["synthetic"] for m in measured], "theirs": [m["real"] for m in measured], "other": "real data"}
    return {**body, "comparison": test.to_json(), "verdict": verdict, "why": why}


def one_thread_lesson(seed: int) -> dict[str, Any]:
    """Return `teaching.measure(seed)`, computed on one thread so that the figures repeat."""
    import torch

    from mimar.study.teaching import measure

    torch.set_num_threads(1)
    return measure(seed)


def near_unroll(claim: NearUnroll, workers: int, tell: Tell) -> dict[str, Any]:
    """Return the record of the fidelity claim: cosines by seed, their means, the one comparison, the verdict."""
    measured: list[dict[str, Any]] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(one_thread_cosines, claim.seeds):
            measured.append(found)
            tell(f"cosines to a long unroll: seed {found['seed']}")
    references = measured[0]["references"]
    means = {
        name: {ref: statistics.fmean(m["estimators"][name][ref] for m in measured) for ref in references}
        for name in measured[0]["estimators"]
    }
    ours, theirs = ([m["estimators"][n][references[0]] for m in measured] for n in (claim.ours, claim.theirs))
    test = compare(ours, theirs)
    verdict, why = judged(test)
    body = {"claim": claim.text, "seeds": list(claim.seeds), "means": means, "measured": measured}
    return {**body, "comparison": test.to_json(), "verdict": verdict, "why": why}


def one_thread_cosines(seed: int) -> dict[str, Any]:
    """Return `fidelity.cosines(seed)`, computed on one thread so that the figures repeat."""
    import torch

    from mimar.study.fidelity import cosines

    torch.set_num_threads(1)
    return cosines(seed)


def judged(test: Comparison) -> tuple[str, str]:
    """Return the verdict of a comparison, and why."""
    if test.verdict == "better":
        return "holds", f"p = {test.p:.3g}"
    if test.verdict == "no difference shown" and abs(test.difference) < test.detectable:
        return "not tested", f"the difference is below the detectable {test.detectable:.3g}"
    return "does not hold", f"p = {test.p:.3g}"
