"""The page of a comparison, and its table as Markdown: built from the figures alone, so that committed ones suffice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mimar.core.units import count, percent, seconds
from mimar.report.markup import Markup, figure, join, note, section, table, tag
from mimar.report.page import document
from mimar.report.plots import Row, dots
from mimar.report.regret import Point, regret

Figures = Mapping[str, Any]
HEAD = ("recipe", "test accuracy", "random, same cost", "difference", "p", "detectable", "verdict")
MORE = ("recipe", "min to max", "alike", "free operations", "gap", "search", "whole", "time")


def html(figures: Figures) -> str:
    """Return the whole page, self-contained."""
    rows, study, random = figures["recipes"], figures["study"], figures["random"]
    task, n = study["task"], len(study["seeds"])
    title = f"{len(rows)} recipes beside random search on {task}, {n} seed{'s' * (n > 1)}"
    head = [tag("p", text, class_="lead" if i == 0 else None) for i, text in enumerate(summary(figures))]
    content = join(
        tag("header", tag("h1", title), *head, *_warnings(figures)),
        section("accuracy", "Test accuracy", _accuracy(figures)),
        section("test", "Against random search", _test(figures)),
        section("figures", "Stability, architectures, cost", _more(figures)),
        section("budget", "Against the budget", _regret(figures)),
        section("table", "In the benchmark's table", _table(figures)) if random["table"] else "",
        section("seeds", "By seed", _seeds(figures)),
        section("conditions", "Scale and conditions", *_conditions(figures)),
        section("cells", "Cells without a result", _cells(figures)),
    )
    return document(title, content)


def summary(figures: Figures) -> list[str]:
    """Return what the page says in sentences."""
    found: dict[str, list[str]] = {}
    for row in figures["recipes"]:
        found.setdefault(row["verdict"], []).append(row["recipe"])
    order = ("better", "worse", "no difference shown", "not tested")
    told = "; ".join(f"{verdict}: {', '.join(found[verdict])}" for verdict in order if verdict in found)
    test = figures["test"]
    how = "One two-sided rank test a recipe, fixed beforehand: its test accuracies over the seeds against those of the "
    how += "network that random search would choose on the holdout, among as many networks as cost the same, trained alike."
    lead = [f"Beside random search at the same cost: {told}.", how]
    if tests := sum(row["comparison"] is not None for row in figures["recipes"]):
        chance = (
            f"by chance alone about {tests * test['level']:.2g} of them would find a difference where there is none."
        )
        lead.append(f"{tests} test{'s' * (tests > 1)} at level {test['level']:g}: {chance}")
    return lead


def _warnings(figures: Figures) -> Iterable[Markup]:
    n, fewest = len(figures["study"]["seeds"]), figures["test"]["fewest_seeds"]
    if n < fewest:
        yield note(
            f"Not tested: fewer than {fewest} seeds ({n}). No claim about a method rests on this page.", class_="alarm"
        )
    still = [
        f"{r['recipe']} ({r['unmoved']} of {len(r['random']['seeds'])})" for r in figures["recipes"] if r["unmoved"]
    ]
    if still:
        text = "Seeds whose gates did not move, so that the search found nothing: "
        yield note(f"{text}{', '.join(still)}. A recipe where these are more than a quarter is not tested.")
    if figures["waiting"]:
        yield note(f"The study is not finished; cells still to come: {len(figures['waiting'])}.", class_="alarm")
    if figures["failed"]:
        n = len(figures["failed"])
        yield note(
            f"{n} cell{'s' * (n > 1)} failed and {'are' if n > 1 else 'is'} missing; see the end.", class_="alarm"
        )


def mean(held: Figures | None, form: Any = percent) -> str:
    """Return mean ± standard deviation, or a dash."""
    if not held or held["mean"] is None:
        return "–"
    return form(held["mean"]) + ("" if held["std"] is None else f" ± {form(held['std'])}")


def points(value: float | None, sign: bool = False) -> str:
    """Return a difference of accuracies in percentage points."""
    return "–" if value is None else f"{100 * value:{'+' if sign else ''}.2f}"


def compared(row: Figures) -> list[str]:
    """Return a recipe's texts under `HEAD`."""
    test = row["comparison"] or {}
    verdict = row["verdict"] + (f": {row['why']}" if row["verdict"] == "not tested" else "")
    p = f"{test['p']:.2g}" if test else "–"
    gap = points(test.get("difference"), sign=True)
    return [row["recipe"], mean(row["accuracy"]), mean(row["random"]), gap, p, points(test.get("detectable")), verdict]


def described(row: Figures) -> list[str]:
    """Return a recipe's texts under `MORE`; also those of random search, which has neither gap nor derivation."""
    test, cost, free = row["accuracy"], row["cost"], row["free_operations"]
    ends = "–" if test["min"] is None else f"{percent(test['min'])} to {percent(test['max'])}"
    gap, whole = mean(row["gap"], points) if "gap" in row else "–", cost["search"]["mean"]
    if whole is not None and "retrain" in cost:
        whole += cost["retrain"]["mean"]
    alike = "–" if row["distance"] is None else percent(1 - row["distance"])
    texts = [ends, alike, "–" if free["mean"] is None else f"{free['mean']:.2f}", gap]
    texts += ["–" if v is None else count(v) for v in (cost["search"]["mean"], whole)]
    return [*texts, "–" if cost["seconds"]["mean"] is None else seconds(cost["seconds"]["mean"])]


def markdown(figures: Figures) -> str:
    """Return the table as Markdown: one recipe a row, random search last."""
    head = [*HEAD, *MORE[1:]]
    body = [[*compared(row), *described(row)] for row in figures["recipes"]]
    body.append(["random", mean(figures["random"]["accuracy"]), *["–"] * 5, *described(figures["random"])])
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _accuracy(figures: Figures) -> Markup:
    names = [f"{k}. {row['recipe']}" for k, row in enumerate(figures["recipes"], 1)]
    rows = [_row(name, row["accuracy"], loud=True) for name, row in zip(names, figures["recipes"], strict=True)]
    rows.append(_row("random search, at the cost of the dearest", figures["random"]["accuracy"]))
    hint = "Each dot is one seed: a network trained from scratch and tested once; bar: mean, band: ± one standard deviation."
    return figure(dots("test accuracy by recipe", rows), "", hint) or note("No cell has finished yet.")


def _row(name: str, held: Figures, *, loud: bool = False) -> Row:
    return Row(name, held["by_seed"], held["mean"], held["std"], loud)


def _test(figures: Figures) -> Markup:
    rows = []
    for row in figures["recipes"]:
        test = row["comparison"] or {}
        effect = f"{test['effect']:.2f}" if test else "–"
        (name, *texts, verdict), n = compared(row), row["random"]["networks"]
        many = f"{min(n)}" + (f" to {max(n)}" if min(n) < max(n) else "") if n else "–"
        rows.append((name, many, *texts, effect, verdict))
    head = (HEAD[0], "random networks", *HEAD[1:-1], "effect", HEAD[-1])
    test = figures["test"]
    caption = "Mean ± standard deviation over seeds; difference and detectable in percentage points. Detectable: the smallest "
    caption += f"difference that the test finds with power {test['power']:g}. Effect: P(recipe > random), ½ where nothing differs."
    return table(head, rows, caption)


def _more(figures: Figures) -> Markup:
    rows = [(row["recipe"], *described(row)) for row in figures["recipes"]]
    caption = (
        "Alike: mean share of choices in which the architectures of two seeds agree. Free operations: choices with an "
    )
    caption += (
        "operation without parameters, mean. Gap: supernet's accuracy minus that of the derived network with its "
    )
    caption += "weights, validation half, in points. Search and whole (with the final training) in MACs. Time: of the whole, wall."
    return table(MORE, [*rows, ("random search", *described(figures["random"]))], caption)


def _regret(figures: Figures) -> Markup:
    curve = [Point("random search", c["cost"], c["mean"], c["std"]) for c in figures["random"]["curve"]]
    dots = []
    for k, row in enumerate(figures["recipes"], 1):
        cost, held = row["cost"], row["accuracy"]
        whole = (cost["search"]["mean"] or 0.0) + (cost["retrain"]["mean"] or 0.0)
        dots.append(Point(f"{k}. {row['recipe']}", whole, held["mean"] or 0.0, held["std"]))
    hint = "Line: test accuracy of the network that random search chooses so far, mean over seeds, band ± one standard "
    hint += (
        "deviation. A numbered dot: a recipe at the mean cost of its search and final training, whisker ± one standard "
    )
    hint += "deviation. Above the line the recipe was worth its cost; the distance of the line to the best dot is random's regret."
    names = ", ".join(dot.name for dot in dots)
    return figure(
        regret("test accuracy against cost", curve, [d for d in dots if d.cost]), "", f"{hint} {names}."
    ) or note("No cell has finished yet.")


def _table(figures: Figures) -> Markup:
    every = figures["random"]["table_every"]
    rows = [(r["recipe"], *(_points(held) for held in r["table"].values())) for r in figures["recipes"] if r["table"]]
    rows.append(("random search, its choice", *(_points(held) for held in figures["random"]["table"].values())))
    rows.append(("random search, every network", *(_points(held) for held in every.values())))
    caption = (
        "The derived cells' test accuracy in the real NAS-Bench-201 table (200 epochs, full data), mean ± standard "
    )
    caption += "deviation over seeds, %. The search has seen neither these data nor this scale."
    return table(("cells of", *every), rows, caption)


def _points(held: Figures) -> str:
    return mean(held, lambda value: f"{value:.2f}")


def _seeds(figures: Figures) -> Markup:
    seeds = figures["study"]["seeds"]
    rows = []
    for row in (*figures["recipes"], {**figures["random"], "recipe": "random search"}):
        held = dict(zip(row["seeds"], row["accuracy"]["by_seed"], strict=True))
        rows.append((row["recipe"], *(percent(held.get(seed)) for seed in seeds)))
    return table(("recipe", *(f"seed {seed}" for seed in seeds)), rows, "test accuracy of every derived network")


def _conditions(figures: Figures) -> list[Markup]:
    study, scale = figures["study"], figures["scale"]
    sizes = ", ".join(f"{split} {n}" for split, n in scale["sizes"].items())
    final = ", ".join(f"{k} {v}" for k, v in study["retrain"].items() if not isinstance(v, dict | None) and k != "part")
    rows: list[Sequence[object]] = [
        ("task", study["task"]),
        ("samples", sizes),
        ("net", study["net"] or "the default: nasbench201:cells=1,channels=8"),
        ("space", f"{scale['choices']} choices; the supernet needs {count(scale['supernet_macs'])} MACs a sample"),
        ("final training", f"{final}; the same for all"),
        ("seeds", ", ".join(map(str, study["seeds"]))),
        ("networks of random search", ", ".join(map(str, figures["random"]["networks"])) or "–"),
    ]
    rows += [(key, value if isinstance(value, str) else ", ".join(value)) for key, value in figures["versions"].items()]
    own = [(r["recipe"], _options(r["options"]), r["hash"]) for r in figures["recipes"]]
    text = "A small study: small images, small networks, short trainings. It says which recipe finds better networks at this "
    text += "scale; published figures are of another one. Costs are analytic: MACs of all passes, whatever the machine."
    return [tag("p", text), table((), rows, class_="pairs"), table(("recipe", "options", "hash"), own, class_="list")]


def _options(options: Figures) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items()) or "its defaults"


def _cells(figures: Figures) -> Markup:
    rows = [(f"{c['recipe']}, seed {c['seed']}", f"failed: {c['why']}") for c in figures["failed"]]
    rows += [(f"{c['recipe']}, seed {c['seed']}", "still to come") for c in figures["waiting"]]
    return table((), rows, class_="pairs") if rows else tag("p", "None: every cell has one.")
