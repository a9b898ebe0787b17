"""The page of one run, section by section; what is missing makes a section shorter, and it says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mimar.core.units import count, percent, seconds
from mimar.report import reproduce, words
from mimar.report.cells import cells, notation, option
from mimar.report.curves import curves, gates, retraining
from mimar.report.drawing import draw
from mimar.report.markup import Markup, figure, join, note, section, table, tag
from mimar.report.plots import Row, dots, whole_percent
from mimar.report.reading import Event, Run, items, mapping, number, own


def body(run: Run) -> Markup:
    """Return the content of the page of one run."""
    head = [tag("p", t, class_="lead" if i == 0 else None) for i, t in enumerate(words.lead(run))]
    moved = note(found, class_="note" if run.moved else "alarm") if (found := words.gates(run)) else ""
    return join(
        tag("header", tag("h1", f"{run.title}: {words.standing(run)}"), *head, moved),
        section("cell", "The architecture", cell(run)),
        section("networks", "Beside random networks", networks([run]), _every(run)),
        section("gates", "The gates during the search", gates(run, colours(run))),
        section("curves", "The search", curves(run)),
        section("retraining", "Training from scratch", retraining(run)),
        section("budget", "Budget", _budget(run)),
        section("warnings", "Warnings", warnings([run])),
        section("conditions", "Conditions", conditions(run)),
        section("again", "How to make it again", again(run)),
    )


def colours(run: Run) -> dict[str, int]:
    """Return the series of each option, the same in drawing and gates; "none" is grey."""
    names = dict.fromkeys(o for options in run.options.values() for o in options if o != "none")
    return {"none": 6} | {name: (0, 1, 2, 3, 4, 5, 7)[i % 7] for i, name in enumerate(names)}


def drawings(run: Run, chosen: Mapping[str, Any]) -> list[Markup]:
    """Return a picture of each cell of an architecture in JSON; none where its layout is not a published one."""
    found = cells(chosen, run.header.get("layout"))
    return [figure(draw(c, colours(run)), c.name.removesuffix("cell")) for c in found]


def cell(run: Run) -> Markup:
    """Return the drawing of the derived cell with its notation, or the list of the options chosen."""
    if not (chosen := run.architecture):
        return note("No architecture has been derived yet.")
    layout = run.header.get("layout")
    if not (pictures := drawings(run, chosen)):
        ends, rows = mapping(run.derived.get("gates")), []
        for name, value in chosen.items():
            gate = zip(run.options.get(name, ()), map(number, items(ends.get(name))), strict=False)
            told = ", ".join(f"{o} {g:.2f}" for o, g in gate if g is not None)
            rows.append((name, tag("strong", option(value)), told or "–"))
        return table(("choice", "option", "gates at the end"), rows, class_="list")
    hint = "Each node adds up what its edges bring; dotted edges carry nothing (none)."
    if layout == "darts":
        hint = "c_{k-2} and c_{k-1} are the outputs of the two cells before. Each node adds up its two inputs; grey "
        hint += "lines carry what passes other nodes, dashed ones lead to the output, which joins all nodes."
    text = tag("p", tag("code", notation(chosen, layout)))
    return tag("div", *pictures, class_="cells") + text + tag("p", hint, class_="hint")


def networks(runs: Sequence[Run]) -> Markup:
    """Return the derived network of each run above its random ones, as dots with their spread."""
    rows, m = [], words.measure(runs[0])
    for run in runs:
        own, random = m.of(run.network), [v for v in map(m.of, run.others) if v is not None]
        before, name = f"{run.folder.name}: " if len(runs) > 1 else "", words.called(run.network.get("network"))
        name = "the network found" if run.blackbox else name
        rows.append(Row(before + name, [own] if own is not None else [], loud=True))
        name = f"{before}{len(random)} networks drawn at random"
        rows.append(Row(name, random, run.baseline["mean"], run.baseline["std"]))
    hint = "Each dot is a network trained from scratch and tested once; bar: mean, band: ± one standard deviation."
    picture = dots(f"{m.title} of each network", rows, whole_percent if m.name == "accuracy" else m.form)
    return figure(picture, f"{m.title} on {runs[0].text('task')}", hint) or note(
        "No network has been trained from scratch yet."
    )


def _every(run: Run) -> Markup:
    rows, m = [], words.measure(run)
    for t in sorted(run.trained, key=lambda t: not own(t)):
        name = tag("strong" if t is run.network else "span", words.called(t.get("network")))
        if run.header.get("layout") == "nasbench201":
            name += tag("code", notation(mapping(t.get("architecture")), "nasbench201"))
        rows.append((name, m.form(m.of(t)), m.form(m.of(t, "valid")), *sizes(t)))
    head, caption = ("network", "test", "held out", "params", "MACs"), f"{m.name}, parameters, and MACs a sample"
    alone = note("There is no random network beside it.") if not run.others else ""
    return table(head, rows, caption) + alone if rows else Markup()


def sizes(trained: Event) -> list[str]:
    """Return parameters and MACs of a trained network as texts."""
    found = [number(mapping(trained.get("metrics")).get(k)) for k in ("params", "macs")]
    return ["–" if v is None else count(v) for v in found]


def _budget(run: Run) -> Markup:
    known = {k: c for k, v in mapping(run.result.get("budget")).items() if (c := number(v)) is not None}
    if not run.result:
        parts = {"retrain": [run.network], "baseline": run.others}
        known = {k: sum(number(t.get("budget")) or 0.0 for t in found) for k, found in parts.items() if any(found)}
    if not known:
        return note("Nothing has been charged yet: costs are written when a training ends.")
    names = {"retrain": "retraining the derived network", "baseline": "training the random networks"}
    hint = "Analytic cost of all forward and backward passes, the supernet with every option included."
    own = known.get("search", 0.0) + known.get("retrain", 0.0)
    if own and known.get("baseline"):
        hint += f" The random networks cost {known['baseline'] / own:.2f} times the search and its retraining."
    if run.seconds is not None:
        hint += f" Wall time of everything: {seconds(run.seconds)}."
    rows = [(names.get(k, k), f"{count(v)} MACs") for k, v in known.items()]
    return table((), rows, class_="pairs") + tag("p", hint, class_="hint")


def warnings(runs: Sequence[Run]) -> Markup:
    """Return what runs warned of, and what of their files is damaged."""
    before = {run.folder: f"{run.folder.name}: " if len(runs) > 1 else "" for run in runs}
    texts = [f"{before[r.folder]}{w.get('name', 'warning')}: {w.get('text', '')}" for r in runs for w in r.warned]
    texts += [f"{before[r.folder]}damaged file: {d}" for r in runs for d in r.damage]
    return note(*texts, class_="alarm") if texts else tag("p", "None.")


def conditions(run: Run) -> Markup:
    """Return what the figures depend on: versions, machine, data, settings."""
    rows: list[tuple[object, ...]] = [(k, run.text(k)) for k in ("recipe", "task", "seed", "hash", "data", "device")]
    versions = mapping(run.header.get("versions"))
    rows += [("processor" if k == "device" else k, v) for k, v in versions.items()]
    for key, name in (("valid_accuracy", "supernet, validation"), ("derived_accuracy", "its weights, derived network")):
        if (value := number(mapping(run.result.get("supernet")).get(key))) is not None:
            rows.append((name, percent(value)))
    return table((), rows, class_="pairs")


def again(run: Run) -> Markup:
    """Return how to make the run again."""
    line = reproduce.command(run)
    hint = "Results repeat bit for bit on the same device, instruction set, thread count and torch version."
    parts = [tag("h3", "On the command line"), tag("pre", line)] if line else []
    return join(*parts, tag("h3", "In Python"), tag("pre", reproduce.python(run)), tag("p", hint, class_="hint"))
