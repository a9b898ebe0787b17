"""What happened over the epochs: gates, losses, accuracies, entropy, hypergradient, retraining."""

from __future__ import annotations

from collections.abc import Mapping

from mimar.report.markup import esc, figure, note, tag
from mimar.report.plots import Line, legend, lines, panel, whole_percent
from mimar.report.reading import Run, items, mapping, number, series
from mimar.report.words import network_name

MOST = 60  # panels of one page


def gates(run: Run, colours: Mapping[str, int]) -> str:
    """Return one panel a choice, grouped by the first part of its name."""
    choices = {name: found for name in run.options if (found := _trajectories(run, name, colours))}
    still = [name for name, found in choices.items() if all(y == 1 for s in found for _, y in s.points)]
    shown = {name: found for name, found in choices.items() if name not in still}
    if not shown:
        return note(
            "This run has no gates on record yet." if not run.finished else "This run has no gates: it relaxed nothing."
        )
    high = max(y for found in shown.values() for s in found for _, y in s.points)
    top = next((t for t in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if high <= t), high)
    groups: dict[str, list[str]] = {}
    for name, found in list(shown.items())[:MOST]:
        group, _, rest = name.rpartition("/")
        chosen = run.architecture.get(name)
        title = rest.replace("-", " → ") if group else rest
        picture = panel(title, found, top, 1 / len(found), str(chosen) if chosen is not None else None)
        groups.setdefault(group, []).append(picture)
    used = dict.fromkeys(s.name for found in shown.values() for s in found)
    by_series = {colours.get(name, 7): name for name in reversed(used)}
    text = (
        f"A panel for each choice, all on a scale from 0 to {top:g}; the strongest option is thick and named with its final "
        "gate. The dotted line is no preference. ✓ stands where the choice is part of the derived network."
    )
    body = tag("p", esc(text), class_="soft") + legend([(k, by_series[k]) for k in sorted(by_series)])
    for group, pictures in groups.items():
        heading = f"<h3>{esc(group)}</h3>" if len(groups) > 1 else ""
        body += heading + tag("div", "".join(pictures), class_="panels")
    if len(shown) > MOST:
        body += note(f"{len(shown) - MOST} more choices are left out of this page; events.jsonl has all of them.")
    if still:
        body += tag(
            "p", esc(f"Not relaxed, all their inputs take part in the search: {', '.join(still)}."), class_="soft"
        )
    return body


def _trajectories(run: Run, name: str, colours: Mapping[str, int]) -> list[Line]:
    options = run.options[name]
    points: list[list[tuple[float, float]]] = [[] for _ in options]
    for event in run.epochs:
        gate = [number(g) for g in items(mapping(event.get("gates")).get(name))]
        epoch = number(event.get("epoch"))
        if epoch is None or len(gate) != len(options) or None in gate:
            continue
        for found, g in zip(points, gate, strict=True):
            found.append((epoch, g or 0.0))
    return [Line(o, p, colours.get(o, 7)) for o, p in zip(options, points, strict=True) if p]


def curves(run: Run) -> str:
    """Return the curves of the search."""
    losses = [Line("training", run.series("train_loss"), 0), Line("validation", run.series("valid_loss"), 1)]
    figures = [
        (lines("loss of the supernet", losses, log=True), "loss", "The supernet with all its options, on each half.")
    ]
    measured = sorted({k for e in run.epochs for k in e if k.startswith("valid_") and k != "valid_loss"})
    for key in measured:
        name = key.removeprefix("valid_")
        form = {"form": whole_percent} if name == "accuracy" else {}
        picture = lines(f"validation {name} of the supernet", [Line("validation", run.series(key), 1)], **form)
        figures.append((picture, f"{name} on the validation half", "With the shared weights and the soft gates."))
    entropy = lines("entropy of the gates", [Line("entropy", run.series("entropy"), 2)], low=0.0, high=1.0)
    figures.append((entropy, "entropy of the relaxation", "1: no preference among the options; 0: decided."))
    norm = lines("norm of the hypergradient", [Line("norm", run.series("hyper", "norm"), 3)], low=0.0, log=True)
    figures.append((norm, "hypergradient", "Its norm at the last alpha step of each epoch."))
    share = lines("share of the implicit term", [Line("share", run.series("hyper", "share"), 3)], low=0.0, high=1.0)
    text = "Norm of the implicit term over the sum of both norms; 0 for a first-order method."
    figures.append((share, "share of the implicit term", text))
    growth = [Line("growth", [p for p in run.series("hyper", "growth") if p[1] > 0], 5)]
    text = "Last over first summand of the series; above 1 it grows, and its result means little."
    figures.append((lines("growth of the series", growth, low=0.0, high=1.0), "growth of the series", text))
    skips = lines("skip connections", [Line("skips", run.series("skips"), 4)], low=0.0)
    text = "In the network that would be derived after each epoch; a collapse to skips shows here."
    figures.append((skips, "skip connections", text))
    there = [figure(picture, heading, text) for picture, heading, text in figures if picture]
    if not there:
        return note("No epoch of a search is on record.")
    body = tag("div", "".join(there), class_="grid")
    return body if run.series("hyper", "norm") else body + note("This run has no hypergradient on record.")


def retraining(run: Run) -> str:
    """Return the training losses of the derived network and of the random ones."""
    if not run.retraining:
        return note("No network has begun its training from scratch.")
    found, quiet = [], [name for name in run.retraining if name != "derived"]
    for name, events in run.retraining.items():
        points = series(events, "train_loss")
        found.append(Line(network_name(name), points, 0, quiet=name != "derived"))
    picture = lines("training loss from scratch", found, log=True)
    text = f"Blue: the derived network; grey: {len(quiet)} random ones, trained in the same way." if quiet else ""
    return figure(picture, "training loss", text) if picture else note("No losses of the retraining are on record.")
