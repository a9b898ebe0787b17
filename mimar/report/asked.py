"""The page of a black-box search, section by section; a section that would be empty is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mimar.report import answer, effects, history, leading, rungs, sections, words
from mimar.report.cells import notation, option
from mimar.report.curves import pictures
from mimar.report.ledger import ledger
from mimar.report.markup import Markup, figure, join, section, table, tag
from mimar.report.plots import Line, Row, dots, lines, whole_percent
from mimar.report.reading import Run, items, mapping, number, series
from mimar.report.scatter import Marks, key
from mimar.report.trials import Aim, Tried, aims, leaders, read


def body(run: Run) -> Markup:
    """Return the content of the page of one black-box search."""
    trials = read(run)
    seen = aims(run, trials)
    head = [tag("p", t, class_="lead" if i == 0 else None) for i, t in enumerate(answer.lead(run, trials, seen))]
    shown = (
        ("cell", "The architecture" if run.result else "The best so far", cell(run, trials)),
        ("networks", "Beside random networks", _networks(run)),
        ("weights", "The shared weights", tag("div", *curves, class_="grid") if any(curves := pictures(run)) else ""),
        ("search", "The search", history.pictures(run, trials, seen)),
        ("front", "The front", leading.front(run, trials, seen)),
        ("fidelities", "Fidelities", rungs.section(run, trials, seen[0]) if seen else ""),
        ("best", "The best trials", leading.best(run, trials, seen)),
        ("lineage", "How it came about", leading.lineage(trials, seen)),
        ("effects", "What each option went with", _effects(run, trials, seen)),
        ("retraining", "Training from scratch", _trainings(run)),
        ("budget", "What it cost", ledger(run, trials)),
        ("warnings", "Warnings", sections.warnings([run]) if run.warned or run.damage else ""),
        ("conditions", "Conditions", table((), _protocol(run), class_="pairs") + sections.conditions(run)),
        ("again", "How to make it again", sections.again(run)),
    )
    title = tag("h1", f"{run.title}: {words.standing(run)}")
    return join(tag("header", title, *head), *(section(*one) for one in shown if one[2]))


def cell(run: Run, trials: Sequence[Tried]) -> Markup:
    """Return the drawing of what was found, or leads so far, with its notation; else the list of its options."""
    led = leaders(trials)
    chosen: dict[str, Any] = run.architecture or (led[-1].architecture if led else {})
    if not chosen:
        return Markup()
    if pictures := sections.drawings(run, chosen):
        return tag("div", *pictures, class_="cells") + tag("p", tag("code", notation(chosen, run.header.get("layout"))))
    return table(("choice", "option"), [(n, tag("strong", option(v))) for n, v in chosen.items()], class_="list")


def _networks(run: Run) -> Markup:
    """Return the network found above those of the search and the random ones; "" on a table, which trains none."""
    if not run.trained:
        return Markup()
    m, tested, apart = words.measure(run), list(run.trainings.values()), [] if run.random else run.others
    found, base = m.of(run.network), run.baseline
    rows = [Row("the network found", [found] if found is not None else [], loud=True)]
    for name, group in (
        (f"all {len(tested)} networks of the search", tested),
        (f"{len(apart)} random networks", apart),
    ):
        values = [v for v in map(m.of, group) if v is not None]
        spread = (base["mean"], base["std"]) if group is apart or run.random else (None, None)
        rows.append(Row(name, values, *spread))
    picture = dots(f"{m.title} of each network", rows, whole_percent if m.name == "accuracy" else m.form)
    hint = "Each dot is a network trained from scratch and tested once; bar: mean, band: ± one standard deviation."
    return figure(picture, f"{m.title} on {run.text('task')}", hint)


def _effects(run: Run, trials: Sequence[Tried], seen: Sequence[Aim]) -> Markup:
    good = [t for t in trials if t.values]
    rung = max({t.height for t in good}, key=lambda h: (sum(t.height == h for t in good), h), default=None)
    good = [t for t in good if t.height == rung and len(t.values) == len(seen)]
    every = [effects.effects(good, aim) for aim in seen]
    if not any(abs(e.gap) > 1e-12 for found in every for one in found for e in one):
        return Markup()
    names = dict.fromkeys(e.name for one in every[0] for e in one)
    few = len(names) <= len(effects.SERIES) + 1  # each has a colour of its own, none is grey
    colours = {n: sections.colours(run).get(n, 7) for n in names} if few else {}
    marks = [Marks(name, [(0.0, 0.0)], series) for name, series in colours.items()]
    pictures = [figure(effects.picture(found, aim, colours), aim.label) for found, aim in zip(every, seen, strict=True)]
    at = f" at fidelity {good[0].rung}" if len({t.height for t in trials if t.values}) > 1 else ""
    hint = f"Mean of the {len(good):,} trials{at} that took an option less the mean of the rest; the option with the best is "
    hint += "named. These are differences between what the search measured, not causes: what it found good it kept together."
    more = tag("details", tag("summary", "all of them as a table"), effects.listed(every, seen))
    return tag("p", hint, class_="hint") + key(marks, counted=False) + tag("div", *pictures, class_="grid") + more


def _trainings(run: Run) -> Markup:
    """Return the losses of all trainings; that of the network found stands out."""
    own = str(run.network.get("network"))
    found = [
        Line("found" if n == own else n, series(e, "train_loss"), 0, quiet=n != own) for n, e in run.retraining.items()
    ]
    if all(len(s.points) < 2 for s in found):
        return Markup()
    hint = f"Grey: {sum(s.quiet for s in found)} other networks, trained in the same way." if len(found) > 1 else ""
    return figure(lines("training loss from scratch", found, log=True), "training loss", hint)


def _protocol(run: Run) -> list[tuple[str, str]]:
    """Return the strategy, the budget and the protocol as pairs, as far as they were asked for."""
    tree = mapping(run.header.get("tree"))
    found = [("strategy", run.part("strategy"))]
    found += [(f"budget, {k}", f"{v:,.0f}") for k in ("queries", "seconds") if (v := number(tree.get(k))) is not None]
    for name, value in mapping(tree.get("trials")).items():
        told = ", ".join(map(str, items(value))) or run.part("trials", name) or str(value)
        if name != "part" and value not in (None, [], ""):
            found.append((name, told))
    return found
