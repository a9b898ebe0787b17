"""What the evidence says, as Markdown: the table of `docs/systems.md` and the results on the recipes' pages.

Everything comes from `evidence/RECIPE.json` (see `mimar/study/evidence.py`) and from the recipe's own `TIER`; a recipe
without a record is "not yet measured". `docs/build.py` puts the text between the comments of a page:

    <!-- evidence: systems -->        the table of all recipes
    <!-- evidence: results idarts --> what one recipe's record holds
    <!-- evidence: compare s2 -->     the table of a comparison of many recipes
    <!-- end of evidence -->
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "evidence"
HEAD = ("recipe", "tier", "claim", "task", "ours", "random or other", "p", "verdict")
ABSENT = "not yet measured"
Record = dict[str, Any]


def text(words: str, folder: Path = FOLDER) -> str:
    """Return the Markdown for `systems` or `results RECIPE`; raises ValueError for anything else."""
    from mimar import recipes

    kind, _, name = words.strip().partition(" ")
    if kind == "compare" and name:
        return comparison(name, folder)
    if kind == "systems" and not name:
        return table(HEAD, [row for one in recipes.names() for row in rows(one, read(one, folder))])
    if kind == "results" and name in recipes.names():
        return results(name, read(name, folder))
    raise ValueError(f"there is no evidence called {words!r}: use 'systems', 'results RECIPE' or 'compare NAME'")


def comparison(name: str, folder: Path = FOLDER) -> str:
    """Return the table of a committed comparison, evidence/compare-NAME.json."""
    from mimar.study.compare import markdown

    path = folder / f"compare-{name}.json"
    if not path.exists():
        return "Not yet measured: `make study` writes it."
    return markdown(json.loads(path.read_text(encoding="utf-8")))


def read(recipe: str, folder: Path = FOLDER) -> Record | None:
    """Return the record of a recipe, or None where it was not measured."""
    path = folder / f"{recipe}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def tier(recipe: str) -> str:
    """Return the strongest level at which the recipe was shown."""
    from mimar import recipes

    return str(recipes.load(recipe)[0].TIER)


def rows(recipe: str, record: Record | None) -> list[tuple[str, ...]]:
    """Return the rows of one recipe in the table of all: one a claim."""
    link = f"[{recipe}](recipes/{recipe}.md)"
    if record is None:
        return [(link, tier(recipe), "–", "–", "–", "–", "–", ABSENT)]
    found = []
    for claim in record["claims"]:
        figures = ("–", "–", "–", "–")
        if "reached" in claim:
            p = "–" if claim["comparison"] is None else f"{claim['comparison']['p']:.3g}"
            figures = (claim["task"], _figure(claim["reached"]), f"{_figure(claim['random'])} (random)", p)
        elif "derived" in claim:
            test = claim["comparison"]
            ours, theirs = (spread(values, 100) for values in (claim["derived"], claim["random"]["best"]))
            figures = (claim["task"], ours, theirs, f"{test['p']:.3g}")
        elif "ours" in claim:
            mine, others = (f"{statistics.fmean(claim[side]):.4g}" for side in ("ours", "theirs"))
            beside = f"{others} ({claim['other']})"
            figures = (claim["task"], mine, beside, f"{claim['comparison']['p']:.3g}")
        elif "comparison" in claim:
            test = claim["comparison"]
            figures = ("digits", f"{test['mean']:.4f}", f"{test['mean_theirs']:.4f} (theirs)", f"{test['p']:.3g}")
        told = f"{claim['verdict']} ({claim['why']}){_age(recipe, record)}"
        found.append((link, tier(recipe), claim["claim"], *figures, told))
    return found


def results(recipe: str, record: Record | None) -> str:
    """Return what a recipe's record holds: conditions, figures, verdicts."""
    if record is None:
        return f"Not yet measured: there is no record for this recipe. `mimar evidence {recipe}` writes one where a check is fixed."
    versions = record["versions"]
    place = f"mimar {versions['mimar']}, torch {versions['torch']}, on {versions['device']}, one thread"
    head = f"Measured with {place}; recipe hash {record['hash']}{_age(recipe, record)}."
    return "\n\n".join([head, *map(_claim, record["claims"])])


def _claim(claim: Record) -> str:
    said = claim["claim"][0].upper() + claim["claim"][1:]
    head = f"**Claim.** {said}. **Verdict: {claim['verdict']}** ({claim['why']})."
    if "reached" in claim:
        return f"{head}\n\n{_reached(claim)}"
    body = _compared(claim) if "derived" in claim else _beside(claim) if "ours" in claim else _cosines(claim)
    return f"{head}\n\n{body}"


def _figure(held: Record) -> str:
    """Return mean ± standard deviation; fractions as percentages."""
    scale = 100 if 0 < held["mean"] <= 1 else 1
    return f"{scale * held['mean']:.2f} ± {scale * held['std']:.2f}"


def _reached(claim: Record) -> str:
    test = claim["comparison"]
    effect = (
        "–"
        if test is None
        else f"p = {test['p']:.3g}, effect {test['effect']:.2f} [{test['low']:.2f}, {test['high']:.2f}]"
    )
    pairs = [
        (
            "table, runs",
            f"`{claim['task']}` ({claim['table']}), {claim['runs']} runs, {claim['queries']:.0f} queries each",
        ),
        ("options", ", ".join(f"`{k}={v}`" for k, v in claim["options"].items())),
        ("ours", _figure(claim["reached"])),
        ("published", claim["published"]),
        ("runs that found the best there is", f"{100 * claim['reached']['optimum']:.0f} %"),
        ("random search, same budget", _figure(claim["random"])),
        ("two-sided rank test against it", effect),
        ("own time of a search", f"{claim['own_seconds']:.3f} s"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in pairs)])


def _compared(claim: Record) -> str:
    test, beside = claim["comparison"], claim["random"]
    falls = [f"{before:.2f} → {after:.2f}" for before, after in claim["entropy"]]
    pairs = [
        ("task, seeds", f"`{claim['task']}`, {len(claim['seeds'])} seeds"),
        ("test accuracy, derived", f"{spread(claim['derived'], 100)} %"),
        ("test accuracy, random search, chosen on the holdout", f"{spread(beside['best'], 100)} %"),
        ("test accuracy, mean of the random networks", f"{spread(beside['mean'], 100)} %"),
        ("random networks a seed", " ".join(str(n) for n in beside["n"])),
        (
            "difference of means, smallest detectable",
            f"{100 * test['difference']:+.2f}, {100 * test['detectable']:.2f}",
        ),
        ("two-sided rank test, effect P(ours > random)", f"p = {test['p']:.3g}, {test['effect']:.2f}"),
        *([("entropy of the gates, by seed", ", ".join(falls))] if falls else []),
        ("skips, by seed", " ".join(str(n) for n in claim["skips"])),
        *_looked_up(claim.get("table") or {}),
    ]
    return table(("figure", "value"), pairs)


def _beside(claim: Record) -> str:
    test = claim["comparison"]
    size = "" if claim["factor"] == 1.0 else f" (compared with {claim['factor']:.3g} times it)"
    pairs = [
        ("task, seeds", f"`{claim['task']}`, {len(claim['seeds'])} seeds"),
        (f"{claim['figure']}, ours", _plain(claim["ours"])),
        (f"{claim['figure']}, {claim['other']}{size}", _plain(claim["theirs"])),
        ("two-sided rank test, effect P(ours better)", f"p = {test['p']:.3g}, {test['effect']:.2f}"),
    ]
    if "spearman" in claim:
        pairs.append(
            ("rank correlation with a short real training, by seed", " ".join(f"{v:.2f}" for v in claim["spearman"]))
        )
    return table(("figure", "value"), pairs)


def _plain(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4g} ± {statistics.stdev(values):.2g}"


def _looked_up(held: Record) -> list[tuple[str, str]]:
    if "derived" not in held:
        return []
    marks = ", ".join(f"{name} {value:.2f}" for name, value in held["marks"].items())
    found = f"{spread(held['derived'])} % (random cells {held['random_mean']:.2f})"
    return [("the derived cells in the NAS-Bench-201 table, CIFAR-10 test", found), ("marks of that table", marks)]


def _cosines(claim: Record) -> str:
    references = claim["measured"][0]["references"]
    body = [(name, *(f"{held[r]:.4f}" for r in references)) for name, held in claim["means"].items()]
    return table(("estimator", *(f"cosine to {r}" for r in references)), body)


def _age(recipe: str, record: Record) -> str:
    """Say that a record belongs to another version of its recipe, where it does."""
    from mimar.study.evidence import identity

    same = all(record[key] == value for key, value in identity(recipe).items())
    return "" if same else "; the recipe has changed since"


def spread(values: Sequence[float], factor: float = 1.0) -> str:
    """Return mean ± standard deviation of a sample."""
    scaled = [factor * v for v in values]
    deviation = f" ± {statistics.stdev(scaled):.2f}" if len(scaled) > 1 else ""
    return f"{statistics.fmean(scaled):.2f}{deviation}"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
