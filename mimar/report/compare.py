"""Several runs on one page: what each found, beside its random networks, and what that allows to say together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mimar.core.units import count, seconds
from mimar.report import reproduce, sections, words
from mimar.report.drawing import draw
from mimar.report.markup import esc, figure, note, section, table, tag
from mimar.report.plots import Line, Row, dots, lines, whole_percent
from mimar.report.reading import Run, mapping, number

SEEDS = 8  # below this many, a difference is no claim
DRAWN = 12  # cells of one page


def body(runs: Sequence[Run]) -> str:
    """Return the content of the page that compares `runs`."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:  # runs of one group differ in the seed alone, hence not in their measure either
        groups.setdefault((run.text("recipe"), run.text("task"), words.measure(run).name), []).append(run)
    return "".join(
        (
            tag("header", tag("h1", esc(_title(runs, groups))) + _lead(groups)),
            section("networks", "Test figures beside random networks", _figures(runs)),
            section("groups", "Over seeds", _groups(groups)),
            section("cells", "The architectures", _cells(runs)),
            section("entropy", "Entropy of the relaxation", _entropies(runs)),
            section("budget", "Size and budget", _costs(runs)),
            section("warnings", "Warnings", _warnings(runs)),
            section("again", "How to make them again", _again(runs)),
        )
    )


def label(run: Run) -> str:
    """Return what a run is called on this page."""
    return f"{run.text('recipe')}, {run.text('task')}, seed {run.text('seed')} ({run.folder.name})"


def _title(runs: Sequence[Run], groups: dict[tuple[str, str, str], list[Run]]) -> str:
    recipes, tasks = dict.fromkeys(g[0] for g in groups), dict.fromkeys(g[1] for g in groups)
    return f"{len(runs)} runs: {', '.join(recipes)} on {', '.join(tasks)}"


def _lead(groups: dict[tuple[str, str, str], list[Run]]) -> str:
    every = [run for runs in groups.values() for run in runs]
    texts = []
    unfinished, still = [r for r in every if not r.finished], [r for r in every if r.moved is False]
    if unfinished:
        texts.append(f"Not finished: {'; '.join(f'{label(r)}: {words.stage(r)}' for r in unfinished)}.")
    few = sorted({recipe for (recipe, _, _), runs in groups.items() if len({r.text("seed") for r in runs}) < SEEDS})
    if few:
        texts.append(f"Fewer than {SEEDS} seeds for {', '.join(few)}: no claim about a method rests on this page.")
    found = note(*texts) if texts else ""
    if still:
        names = "; ".join(map(label, still))
        text = f"The gates did not move in {len(still)} of {len(every)} runs: their entropy fell by less than 10 %. These have "
        found += note(f"{text}found nothing, and their figures count as “not tested”: {names}.", class_="alarm")
    return found


def _figures(runs: Sequence[Run]) -> str:
    body = ""
    for name in dict.fromkeys(words.measure(run).name for run in runs):
        body += _measured([run for run in runs if words.measure(run).name == name], words.Measure(name))
    return body


def _measured(runs: Sequence[Run], m: words.Measure) -> str:
    rows, plot = [], []
    for run in runs:
        own, baseline = m.of(run.network), run.baseline
        best, mean, std, n = (number(baseline.get(k)) for k in ("best", "mean", "std", "n"))
        spread = f"{m.form(mean)} ± {m.form(std)} (n = {n:.0f})" if n and mean is not None else "–"
        state = {True: "moved", False: "did not move", None: "–"}[run.moved]
        told = words.standing(run)
        rows.append(tuple(map(esc, (label(run), m.form(own), m.form(best), spread, state, told))))
        random = [v for v in map(m.of, run.others) if v is not None]
        plot.append(Row(f"{label(run)}: derived", [own] if own is not None else [], loud=True))
        plot.append(Row("its random networks", random, mean, std if len(random) > 1 else None))
    form = whole_percent if m.name == "accuracy" else m.form
    picture = dots(f"test {m.name} of each network", plot, form)
    text = "Each dot is a network trained from scratch and tested once; the bar is the mean, the band ± one standard deviation."
    head = ("run", "derived", "random, chosen", "random, mean ± std", "gates", "verdict")
    shown = table(head, rows, f"test {m.name}", "figures")
    return (figure(picture, f"test {m.name}", text) if picture else "") + tag("div", shown, class_="scroll")


def _groups(groups: dict[tuple[str, str, str], list[Run]]) -> str:
    rows = []
    for (recipe, task, name), runs in groups.items():
        m = words.Measure(name)
        done = [(m.of(r.network), number(r.baseline.get("best"))) for r in runs if r.finished and r.moved is not False]
        own = [a for a, _ in done if a is not None]
        gaps = [a - b for a, b in done if a is not None and b is not None]
        wins = sum(1 for g in gaps if (g < 0 if m.lower else g > 0))
        told = f"{wins} of {len(gaps)}" if gaps else "–"
        rows.append((f"{recipe} on {task}", f"{len(own)} of {len(runs)}", _spread(own, m), _spread(gaps, m), told))
    head = ("recipe and task", "runs counted", "derived, mean ± std", "minus random's choice", "ahead of it")
    text = "Counted: finished runs whose gates moved, or that have none."
    shown = table(head, [tuple(map(esc, row)) for row in rows], text, "figures")
    return tag("div", shown, class_="scroll")


def _spread(values: Sequence[float], m: words.Measure) -> str:
    if not values:
        return "–"
    mean = m.form(statistics.fmean(values))
    return f"{mean} ± {m.form(statistics.stdev(values))}" if len(values) > 1 else mean


def _cells(runs: Sequence[Run]) -> str:
    found, listed = "", ""
    for run in runs[:DRAWN]:
        pictures = [draw(c, sections.colours(run)) for c in sections.drawn(run)]
        found += "".join(figure(p, label(run) if i == 0 else "", "") for i, p in enumerate(pictures))
    for run in runs:
        if run.architecture:
            listed += tag(
                "p", f"{esc(label(run))}: {tag('code', esc(sections.notation(run.architecture, run.layout)))}"
            )
    if len(runs) > DRAWN:
        listed += note(f"Drawn are the first {DRAWN} of {len(runs)} runs; each run's own report has its drawing.")
    return (tag("div", found, class_="cells") + listed) or note("No run has derived an architecture yet.")


def _entropies(runs: Sequence[Run]) -> str:
    loud = len(runs) <= 6
    found = [Line(f"seed {r.text('seed')}"[:12], r.series("entropy"), i, quiet=not loud) for i, r in enumerate(runs)]
    picture = lines("entropy of the gates", found, low=0.0, high=1.0)
    rows = []
    for run in runs:
        before, after = run.entropies
        rows.append((esc(label(run)), *("–" if v is None else f"{v:.3f}" for v in (before, after))))
    text = "1: no preference among the options; 0: decided."
    shown = table(("run", "before", "after"), rows, class_="figures")
    return (figure(picture, "entropy over epochs", text) if picture else "") + tag("div", shown, class_="scroll")


def _costs(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        spent, sizes = mapping(run.result.get("budget")), mapping(run.network.get("metrics"))
        values = [sizes.get("params"), sizes.get("macs"), *(spent.get(k) for k in ("search", "retrain", "baseline"))]
        shown = [count(v) if (v := number(value)) is not None else "–" for value in values]
        rows.append((esc(label(run)), *shown, seconds(run.seconds) if run.seconds is not None else "–"))
    head = ("run", "parameters", "MACs", "search", "retraining", "random", "time")
    shown_all = table(
        head, rows, "MACs a sample of the derived network; cost of each phase in MACs; wall time", "figures"
    )
    return tag("div", shown_all, class_="scroll")


def _warnings(runs: Sequence[Run]) -> str:
    texts = [f"{label(r)}: {w.get('name', 'warning')}: {w.get('text', '')}" for r in runs for w in r.warned]
    texts += [f"{label(r)}: damaged file: {d}" for r in runs for d in r.damage]
    hashes = {r.text("hash") for r in runs}
    machines = {
        tuple(str(mapping(r.header.get("versions")).get(k)) for k in ("torch", "device", "threads")) for r in runs
    }
    if len(machines) > 1:
        texts.append("These runs were made with different versions of torch, devices or thread counts.")
    found = note(*texts, class_="alarm") if texts else tag("p", "None.")
    return found + tag("p", esc(f"{len(runs)} runs, {len(hashes)} different searches (by hash)."), class_="soft")


def _again(runs: Sequence[Run]) -> str:
    found = ""
    for run in runs:
        text = reproduce.command(run) or reproduce.rebuilt(run)
        found += f"<h3>{esc(label(run))}, hash {esc(run.text('hash'))}</h3><pre>{esc(text)}</pre>"
    return found
