"""Several runs on one page: what each found, beside its random networks, and what that allows to say together."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from mimar.core.describe import digest
from mimar.core.units import cost, count, seconds
from mimar.report import asked, history, sections, words
from mimar.report.markup import Markup, figure, join, note, section, table, tag
from mimar.report.plots import Line, legend
from mimar.report.reading import Run, mapping, number
from mimar.report.scatter import scatter
from mimar.report.trials import aims, leaders, read

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
    cells = [join(tag("h3", r.folder.name), asked.cell(r, read(r)) if r.blackbox else sections.cell(r)) for r in runs]
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
    plain = all(run.blackbox for run in runs)  # no gates anywhere
    beside = [sections.networks(own) for own in alike if not plain or any(r.trained for r in own)]
    curves = [join(*(_curves(own) for own in alike if all(r.blackbox for r in own)))]
    return join(
        tag("header", tag("h1", f"{len(runs)} runs: {recipes} on {tasks}"), *found),
        section("networks", f"Beside random {'search' if plain else 'networks'}", *beside, _runs(runs, plain)),
        *(section("search", "What led", part) for part in curves if part),
        section("seeds", "Over seeds", _groups(groups, plain)),
        section("cell", "The architectures", *cells),
        section("budget", "Size and budget", _costs(runs, plain)),
        section("warnings", "Warnings", sections.warnings(runs)),
        section("again", "How to make them again", *again),
    )


def _settings(run: Run) -> str:
    """Return the digest of all options but the seed: only runs that agree in it are seeds of one experiment."""
    tree = {k: v for k, v in mapping(run.header.get("tree")).items() if k not in ("seed", "device")}
    try:
        return digest(tree)
    except ValueError:  # a stranger's file: a number that JSON does not have
        return str(tree)


def _curves(runs: Sequence[Run]) -> Markup:
    """Return what led in each of several black-box searches on one task, in both currencies; a colour for each recipe."""
    found = [(run, trials) for run in runs if (trials := read(run))]
    if not found:
        return Markup()
    arms = list(dict.fromkeys((run.text("recipe"), _settings(run)) for run, _ in found))
    often = Counter(recipe for recipe, _ in arms)
    aim, pictures = aims(*found[0])[0], []
    for across, at in history.axes(*max(found, key=lambda one: len(history.axes(*one)))):
        lines, every = [], []
        for run, trials in found:
            led = [t for t in leaders(trials) if len(t.values) > aim.place]
            points = history.staircase([(at(t), aim.of(t)) for t in led], max(map(at, trials)))
            lines.append(Line(run.folder.name, points, arms.index((run.text("recipe"), _settings(run)))))
            every += led
        title = f"{aim.label} of what led, by {across.name}"
        pictures.append(figure(scatter(title, across, history.axis(every, aim), [], lines, named=False), title))
    names = [f"{recipe}, {settings[:4]}" if often[recipe] > 1 else recipe for recipe, settings in arms]
    return legend(list(enumerate(names))) + tag("div", *pictures, class_="grid")


def _runs(runs: Sequence[Run], plain: bool) -> Markup:
    rows = []
    for run in runs:
        m, (n, best, mean, std), ends = words.measure(run), run.baseline.values(), run.entropies
        spread = f"{m.form(mean)} ± {m.form(std)} (n = {n:.0f})" if n and mean is not None else "–"
        entropy = [] if plain else [" → ".join("–" if v is None else f"{v:.3f}" for v in ends)]
        name = tag("span", run.folder.name) + tag("code", f"{run.title}: {words.standing(run)}")
        rows.append((name, m.form(m.of(run.network)), m.form(best), spread, *entropy))
    head = (
        "run",
        "found" if plain else "derived",
        "random's choice",
        "random, mean ± std",
        *([] if plain else ["entropy"]),
    )
    titles = ", ".join(dict.fromkeys(words.measure(run).title for run in runs))
    return table(head, rows, titles if plain else "test figures")


def _groups(groups: dict[Key, list[Run]], plain: bool) -> Markup:
    rows = []
    often = Counter((recipe, task) for recipe, task, *_ in groups) if plain else Counter()
    for (recipe, task, *_, settings), runs in groups.items():
        m = words.measure(runs[0])
        counted = [r for r in runs if r.result and r.moved is not False]
        pairs = [(m.of(r.network), r.baseline["best"]) for r in counted]
        own, gaps = [a for a, _ in pairs if a is not None], [a - b for a, b in pairs if a is not None and b is not None]
        ahead = f"{sum(m.sign * g > 0 for g in gaps)} of {len(gaps)}" if gaps else "–"
        spreads = [[f(v) for f in (statistics.fmean, statistics.stdev)[: len(v)]] for v in (own, gaps)]
        means = [" ± ".join(map(m.form, v)) or "–" for v in spreads]
        name = f"{recipe} on {task}" + (f", {settings[:4]}" if often[recipe, task] > 1 else "")
        rows.append((name, f"{len(own)} of {len(runs)}", *means, ahead))
    head = ("recipe and task", "counted", "found" if plain else "derived", "minus random's choice", "ahead")
    caption = "mean ± standard deviation over finished runs"
    return table(head, rows, caption + ("" if plain else ", without those whose gates did not move"))


def _costs(runs: Sequence[Run], plain: bool) -> Markup:
    rows = []
    for run in runs:
        keys = ("search", *(() if plain and not run.trained else ("retrain", "baseline")))
        spent = [number(mapping(run.result.get("budget")).get(k)) for k in keys]
        form = count if run.unit == "MACs" or not run.blackbox else lambda v, unit=run.unit: cost(v, unit)
        costs = [*("–" if v is None else form(v) for v in spent), *(["–"] * (3 - len(keys)))]
        queries = [f"{len(run.trials):,}"] if plain else []
        wall = "–" if run.seconds is None else seconds(run.seconds)
        rows.append((run.folder.name, *sections.sizes(run.network), *queries, *costs, wall))
    head = ("run", "params", "MACs", *(["queries"] if plain else []), "search", "retrain", "random", "time")
    asked_for = "what was found: parameters and MACs a sample; cost of each phase, in MACs unless said; wall time"
    derived = "derived network: parameters and MACs a sample; cost of each phase in MACs; wall time"
    return table(head, rows, asked_for if plain else derived)
