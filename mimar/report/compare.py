"""Several runs on one page: what each found, beside its random networks, and what that allows to say together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mimar.core.describe import digest
from mimar.core.units import count, seconds
from mimar.report import sections, words
from mimar.report.markup import Markup, join, note, section, table, tag
from mimar.report.reading import Run, mapping, number

Key = tuple[str, str, str, str, str]  # recipe, task, measure, data, settings
SEEDS = 8  # below this many, a difference is no claim


def body(runs: Sequence[Run]) -> Markup:
    """Return the content of the page that compares `runs`."""
    runs = list({run.folder.resolve(): run for run in runs}.values())  # a folder named twice is one run
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        key = (run.text("recipe"), run.text("task"), words.measure(run).name, run.text("data"), _settings(run))
        groups.setdefault(key, []).append(run)
    again = [tag("details", tag("summary", f"{r.folder.name}, hash {r.text('hash')}"), sections.again(r)) for r in runs]
    cells = [join(tag("h3", run.folder.name), sections.cell(run)) for run in runs]
    found = [note(f"{r.folder.name}: {r.title}: {words.stage(r)}.") for r in runs if not r.result]
    few = sorted({recipe for (recipe, *_), own in groups.items() if len({r.text("seed") for r in own}) < SEEDS})
    if few:
        found.append(note(f"Fewer than {SEEDS} seeds for {', '.join(few)}: no claim about a method rests on this."))
    if still := [r.folder.name for r in runs if r.moved is False]:
        text = f"The gates did not move in {len(still)} of {len(runs)} runs: their entropy fell by less than 10 %. "
        text += f"These have found nothing, and their figures count as “not tested”: {', '.join(still)}."
        found.append(note(text, class_="alarm"))
    recipes, tasks = (", ".join(dict.fromkeys(g[i] for g in groups)) for i in (0, 1))
    alike = [
        [r for g, own in groups.items() if g[1:4] == key for r in own] for key in dict.fromkeys(g[1:4] for g in groups)
    ]
    return join(
        tag("header", tag("h1", f"{len(runs)} runs: {recipes} on {tasks}"), *found),
        section("networks", "Beside random networks", *map(sections.networks, alike), _runs(runs)),
        section("seeds", "Over seeds", _groups(groups)),
        section("cell", "The architectures", *cells),
        section("budget", "Size and budget", _costs(runs)),
        section("warnings", "Warnings", sections.warnings(runs)),
        section("again", "How to make them again", *again),
    )


def _settings(run: Run) -> str:
    """Return the digest of all options but the seed: only runs that agree in it are seeds of one experiment."""
    tree = {k: v for k, v in mapping(run.header.get("tree")).items() if k not in ("seed", "device")}
    return digest(tree)


def _runs(runs: Sequence[Run]) -> Markup:
    rows = []
    for run in runs:
        m, (n, best, mean, std), ends = words.measure(run), run.baseline.values(), run.entropies
        spread = f"{m.form(mean)} ± {m.form(std)} (n = {n:.0f})" if n and mean is not None else "–"
        entropy = " → ".join("–" if v is None else f"{v:.3f}" for v in ends)
        name = tag("span", run.folder.name) + tag("code", f"{run.title}: {words.standing(run)}")
        rows.append((name, m.form(m.of(run.network)), m.form(best), spread, entropy))
    return table(("run", "derived", "random's choice", "random, mean ± std", "entropy"), rows, "test figures")


def _groups(groups: dict[Key, list[Run]]) -> Markup:
    rows = []
    for (recipe, task, name, *_), runs in groups.items():
        m = words.Measure(name)
        counted = [r for r in runs if r.result and r.moved is not False]
        pairs = [(m.of(r.network), r.baseline["best"]) for r in counted]
        own, gaps = [a for a, _ in pairs if a is not None], [a - b for a, b in pairs if a is not None and b is not None]
        ahead = f"{sum(m.sign * g > 0 for g in gaps)} of {len(gaps)}" if gaps else "–"
        spreads = [[f(v) for f in (statistics.fmean, statistics.stdev)[: len(v)]] for v in (own, gaps)]
        means = [" ± ".join(map(m.form, v)) or "–" for v in spreads]
        rows.append((f"{recipe} on {task}", f"{len(own)} of {len(runs)}", *means, ahead))
    head = ("recipe and task", "counted", "derived", "minus random's choice", "ahead")
    return table(head, rows, "mean ± standard deviation over finished runs, without those whose gates did not move")


def _costs(runs: Sequence[Run]) -> Markup:
    rows = []
    for run in runs:
        spent = [number(mapping(run.result.get("budget")).get(k)) for k in ("search", "retrain", "baseline")]
        costs = [*("–" if v is None else count(v) for v in spent), "–" if run.seconds is None else seconds(run.seconds)]
        rows.append((run.folder.name, *sections.sizes(run.network), *costs))
    head = ("run", "params", "MACs", "search", "retrain", "random", "time")
    return table(head, rows, "derived network: parameters and MACs a sample; cost of each phase in MACs; wall time")
