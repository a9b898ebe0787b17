"""What happened over the epochs: gates, losses, accuracies, entropy, hypergradient, retraining."""

from __future__ import annotations

from collections.abc import Mapping

from mimar.report.markup import Markup, figure, join, note, tag
from mimar.report.plots import Line, legend, lines, panel, short, whole_percent
from mimar.report.reading import Run, items, mapping, number, series
from mimar.report.words import called

MOST = 60  # panels of one page


def gates(run: Run, colours: Mapping[str, int]) -> Markup:
    """Return one panel for each choice, grouped by the first part of its name."""
    every = {name: found for name in run.options if (found := _trajectories(run, name, colours))}
    still = [name for name, found in every.items() if all(y == 1 for s in found for _, y in s.points)]
    shown = {name: found for name, found in every.items() if name not in still}
    if not shown:
        return note("No gates are on record: the search relaxed nothing, or has not finished an epoch.")
    high = max(y for found in shown.values() for s in found for _, y in s.points)
    top = next((t for t in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if high <= t), high)
    groups: dict[str, list[Markup]] = {}
    for name, found in list(shown.items())[:MOST]:
        group, _, rest = name.rpartition("/")
        chosen = str(run.architecture[name]) if name in run.architecture else None
        groups.setdefault(group, []).append(panel(rest.replace("-", " → ") if group else rest, found, top, chosen))
    names = dict.fromkeys(s.name for found in shown.values() for s in found)
    hint = (
        f"One panel a choice, all from 0 to {top:g}. The option that ended highest is thick and named with its gate; "
    )
    hint += "the dotted line is no preference; ✓ names the option that the derived network has."
    body: list[object] = [tag("p", hint, class_="hint"), legend([(colours.get(name, 7), name) for name in names][:16])]
    for group, pictures in groups.items():
        body += [tag("h3", group) if len(groups) > 1 else "", tag("div", *pictures, class_="panels")]
    if len(shown) > MOST:
        body.append(note(f"{len(shown) - MOST} more choices are left out here; events.jsonl has all of them."))
    if still:
        body.append(tag("p", f"Not relaxed, all candidates take part: {', '.join(still)}.", class_="hint"))
    return join(*body)


def _trajectories(run: Run, name: str, colours: Mapping[str, int]) -> list[Line]:
    found, n = [], len(run.options[name])
    for event in run.epochs:
        gate, epoch = [number(g) for g in items(mapping(event.get("gates")).get(name))], number(event.get("epoch"))
        if epoch is not None and len(gate) == n and None not in gate:
            found.append((epoch, gate))
    each = enumerate(run.options[name] if found else ())
    return [Line(o, [(x, gate[i] or 0.0) for x, gate in found], colours.get(o, 7)) for i, o in each]


CURVES = (  # field, name, series, top of the axis, what it means
    ("entropy", "entropy of the relaxation", 2, 1.0, "1: no preference among the options; 0: decided."),
    ("hyper.norm", "norm of the hypergradient", 3, None, "At the last alpha step of each epoch."),
    ("hyper.share", "share of the implicit term", 3, 1.0, "Its norm over the sum of both norms; first order: 0."),
    ("hyper.growth", "growth of the series", 3, 1.0, "Last over first summand; above 1 the series grows."),
    ("skips", "skip connections", 4, None, "In the network that each epoch would derive."),
)


def curves(run: Run) -> Markup:
    """Return the curves of the search."""
    found = pictures(run)
    if not any(found):
        return note("No epoch of a search is on record.")
    missing = "" if series(run.epochs, "hyper", "norm") else note("This run has no hypergradient on record.")
    return tag("div", *found, class_="grid") + missing


def pictures(run: Run) -> list[Markup]:
    """Return a picture of each quantity that the epochs of a search have."""
    losses = [Line(n, series(run.epochs, f"{n}_loss"), k) for k, n in enumerate(("train", "valid"))]
    found = [
        figure(lines("loss of the supernet", losses, log=True), "loss", "Of the supernet, on each half of the data.")
    ]
    for key in sorted({k for e in run.epochs for k in e if k.startswith("valid_") and k != "valid_loss"}):
        form, name = whole_percent if key == "valid_accuracy" else short, key.removeprefix("valid_")
        picture = lines(f"validation {name} of the supernet", [Line("valid", series(run.epochs, key), 1)], form)
        found.append(figure(picture, f"{name} on the validation half", "With shared weights and soft gates."))
    for key, name, k, high, hint in CURVES:
        line = Line(key.rpartition(".")[2], series(run.epochs, *key.split(".")), k)
        found.append(figure(lines(name, [line], low=0.0, high=high, log="norm" in key), name, hint))
    return found


def retraining(run: Run) -> Markup:
    """Return the training losses of the derived network and of the random ones."""
    own = run.network.get("network", "derived")
    found = [Line(called(n), series(e, "train_loss"), 0, quiet=n != own) for n, e in run.retraining.items()]
    hint = f"Grey: {sum(s.quiet for s in found)} random networks, trained in the same way." if len(found) > 1 else ""
    picture = figure(lines("training loss from scratch", found, log=True), "training loss", hint)
    return picture or note("No network has finished an epoch of its training from scratch.")
