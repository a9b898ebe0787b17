"""The sections of the page of one run, each from what is there; what is missing makes a section shorter and says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mimar.core.errors import SpaceError
from mimar.core.units import count, percent, seconds
from mimar.report import cells as layouts
from mimar.report import reproduce, words
from mimar.report.curves import curves, gates, retraining
from mimar.report.drawing import draw
from mimar.report.markup import esc, figure, note, pairs, section, table, tag
from mimar.report.plots import Row, dots
from mimar.report.reading import Run, mapping, number
from mimar.space import Architecture


def colours(run: Run) -> dict[str, int]:
    """Return the series of each option, the same in the drawing and in the gates; "none" is grey."""
    names = dict.fromkeys(o for options in run.options.values() for o in options if o != "none")
    places = [k for k in range(8) if k != 6]
    return {"none": 6} | {name: places[i % 7] for i, name in enumerate(names)}


def drawn(run: Run) -> list[layouts.Cell]:
    """Return the cells to draw; none before the derivation, and where the space has no published layout."""
    try:
        return layouts.cells(run.architecture, run.layout) if run.architecture else []
    except SpaceError:  # a run file of strangers: the list of its choices is still shown
        return []


def notation(architecture: Mapping[str, Any], layout: str | None) -> str:
    """Return an architecture in its published notation, else as choices and options."""
    try:
        if layout == "nasbench201":
            return Architecture(architecture).to_nasbench201()
        if layout == "darts":
            return str(Architecture(architecture).to_genotype())
    except SpaceError:
        pass
    return ", ".join(f"{name}: {_option(value)}" for name, value in architecture.items())


def _option(value: Any) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def verdict(run: Run) -> str:
    """Return the head of the page: title with verdict, the figures in words, what the gates did."""
    found = tag("h1", f"{esc(run.title)}: {esc(words.standing(run))}")
    found += "".join(tag("p", esc(t), class_="lead" if i == 0 else None) for i, t in enumerate(words.lead(run)))
    moved = words.gates(run)
    if moved:
        found += note(moved, class_="note" if run.moved else "alarm")
    return tag("header", found)


def cell(run: Run) -> str:
    """Return the drawing of the derived cell, or the list of the options chosen."""
    if not run.architecture:
        return section("cell", "The architecture", note("No architecture has been derived yet."))
    pictures = [figure(draw(c, colours(run)), f"{c.name} cell" if c.name != "cell" else "", "") for c in drawn(run)]
    found = tag("div", "".join(pictures), class_="cells") if pictures else _choices(run)
    if pictures:
        found += tag("p", tag("code", esc(notation(run.architecture, run.layout))))
    if run.layout == "darts" and pictures:
        text = "c_{k-2} and c_{k-1} are the outputs of the two cells before. Each node adds up its two inputs; an edge that"
        found += tag("p", f"{text} passes other nodes runs beside them. The output joins all nodes.", class_="soft")
    elif pictures:
        found += tag("p", "Each node adds up what its edges bring; dotted edges carry nothing (none).", class_="soft")
    return section("cell", "The architecture", found)


def _choices(run: Run) -> str:
    ends = mapping(run.derived.get("gates"))
    rows = []
    for name, value in run.architecture.items():
        gate, options = ends.get(name), run.options.get(name, ())
        known = isinstance(gate, list) and len(gate) == len(options)
        told = (
            [f"{o} {g:.2f}" for o, g in zip(options, map(number, gate), strict=True) if g is not None] if known else []
        )
        rows.append((esc(name), f"<strong>{esc(_option(value))}</strong>", esc(", ".join(told) or "–")))
    return table(("choice", "option", "gates at the end of the search"), rows)


def networks(run: Run) -> str:
    """Return the derived network beside each random one: dots with their spread, and a table."""
    m = words.measure(run)
    if not run.trained:
        return section("networks", "Beside random networks", note("No network has been trained from scratch yet."))
    random = [v for v in map(m.of, run.others) if v is not None]
    mean, std = (number(run.baseline.get(k)) for k in ("mean", "std"))
    own = m.of(run.network)
    rows = [Row("derived network", [own] if own is not None else [], loud=True)]
    rows.append(Row(f"{len(random)} random networks", random, mean, std if len(random) > 1 else None))
    plot = dots(f"test {m.name} of each network", rows, m.form if m.name != "accuracy" else _percent)
    text = "Each dot is a network trained from scratch and tested once; the bar is the mean, the band ± one standard deviation."
    body = (
        figure(plot, f"test {m.name}", text if random else "No random network yet." if not run.finished else "")
        if plot
        else ""
    )
    lines = []
    for t in sorted(run.trained, key=lambda t: t.get("network") != "derived"):
        lines += _network(run, t, m)
    head = "".join(tag("th", h, scope="col") for h in ("network", "test", "held out", "parameters", "MACs"))
    if not run.others:
        body += note("There is no random network to compare with.")
    shown = f'<table class="figures"><caption>{esc(m.name)} of each network; parameters, and multiply–accumulates a sample</caption>'
    body += tag("div", f"{shown}<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>", class_="scroll")
    return section("networks", "Beside random networks", body)


def _percent(value: float | None) -> str:
    return percent(value) if value is None else f"{100 * value:.4g} %"


def _network(run: Run, trained: Mapping[str, Any], m: words.Measure) -> list[str]:
    metrics = mapping(trained.get("metrics"))
    sizes = [count(v) if (v := number(metrics.get(k))) is not None else "–" for k in ("params", "macs")]
    cells = [m.form(m.of(trained)), m.form(m.of(trained, "valid")), *sizes]
    head = tag("th", esc(words.network_name(trained.get("network"))), scope="row")
    row = head + "".join(tag("td", esc(c)) for c in cells)
    found = [tag("tr", row, class_="loud" if trained.get("network") == "derived" else None)]
    if run.layout == "nasbench201":
        code = tag("code", esc(notation(mapping(trained.get("architecture")), run.layout)))
        found.append(tag("tr", tag("td", code, colspan="5", style="text-align:left")))
    return found


def monitors(run: Run) -> str:
    """Return what the search did over its epochs."""
    return section("gates", "The gates during the search", gates(run, colours(run))) + section(
        "curves", "The search", curves(run)
    )


def training(run: Run) -> str:
    """Return the retraining curves."""
    return section("retraining", "Training from scratch", retraining(run))


def budget(run: Run) -> str:
    """Return what was spent, in multiply–accumulates."""
    spent = {k: number(v) for k, v in mapping(run.result.get("budget")).items()}
    if not spent:
        parts = [("retrain", [run.network]), ("baseline", run.others)]
        spent = {k: sum(number(t.get("budget")) or 0.0 for t in found) for k, found in parts if any(found)}
    known = {k: v for k, v in spent.items() if v is not None}
    if not known:
        return section(
            "budget", "Budget", note("Nothing has been charged yet: costs are written when a training ends.")
        )
    names = {
        "search": "search",
        "retrain": "retraining the derived network",
        "baseline": "training the random networks",
    }
    rows = [(esc(names.get(k, k)), esc(f"{count(v)} MACs")) for k, v in known.items()]
    own = known.get("search", 0.0) + known.get("retrain", 0.0)
    text = "Analytic cost: multiply–accumulates of all forward and backward passes, the supernet with every option included."
    if own and known.get("baseline"):
        text += f" The random networks cost {known['baseline'] / own:.2f} times the search and its retraining."
    if run.seconds is not None:
        text += f" Wall time of everything: {seconds(run.seconds)}."
    shown = table(("part", "cost"), rows, class_="figures") + tag("p", esc(text), class_="soft")
    return section("budget", "Budget", shown)


def warnings(run: Run) -> str:
    """Return what the run warned of, and what of its files is damaged."""
    texts = [f"{w.get('name', 'warning')}: {w.get('text', '')}" for w in run.warned]
    texts += [f"damaged file: {d}" for d in run.damage]
    return section("warnings", "Warnings", note(*texts, class_="alarm") if texts else tag("p", "None."))


def conditions(run: Run) -> str:
    """Return under which conditions the figures hold."""
    rows: list[tuple[str, object]] = [(k, run.text(k)) for k in ("recipe", "task", "seed", "hash", "data")]
    versions = mapping(run.header.get("versions"))
    rows += [(k, v) for k, v in versions.items() if k != "device"]
    device = f"{run.text('device')} ({versions['device']})" if "device" in versions else run.text("device")
    rows += [("device", device), ("run folder", run.folder.name)]
    seen = mapping(run.result.get("supernet"))
    for key, name in (
        ("valid_accuracy", "supernet, validation"),
        ("derived_accuracy", "derived cell with shared weights"),
    ):
        if (value := number(seen.get(key))) is not None:
            rows.append((name, percent(value)))
    return section("conditions", "Conditions", pairs(rows))


def again(run: Run) -> str:
    """Return how to make the run again."""
    line, whole = reproduce.command(run), reproduce.expression(run)
    found = f"<h3>On the command line</h3><pre>{esc(line)}</pre>" if line else ""
    found += f"<h3>In Python, from the run's own description</h3><pre>{esc(reproduce.rebuilt(run))}</pre>"
    if whole:
        told = "<summary>The resolved search as Python, every option written out</summary>"
        found += tag("details", f"{told}<pre>{esc(whole)}</pre>")
    text = "Results repeat bit for bit on the same device, instruction set, thread count and torch version."
    return section("again", "How to make it again", found + tag("p", esc(text), class_="soft"))
