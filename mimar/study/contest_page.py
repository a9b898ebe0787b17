"""The page of a contest and its table in words: from the figures alone, so that kept ones suffice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mimar.core.units import columns, seconds
from mimar.report.anytime import Curve, regrets
from mimar.report.markup import Markup, figure, join, note, section, table, tag
from mimar.report.page import document
from mimar.study.contest_figures import WATT, former
from mimar.study.ranking import FEWEST

Figures = Mapping[str, Any]
FLOOR = {"percent": 1e-4, "number": 1e-4}  # regrets below are drawn as none; a share of the best where there is no unit


def head(figures: Figures) -> tuple[str, ...]:
    """Return the heading of the table."""
    name = figures["measure"]["name"].replace("_", " ")
    return ("strategy", name, "median", "regret", "P(best)", "queries", "own time", "p", "effect", "beside random")


def rows(figures: Figures) -> list[list[str]]:
    """Return the table's rows as texts, the searches without a query last."""
    form, found = former(figures["measure"]), []
    for arm in figures["arms"]:
        versus, verdict = arm["versus"] or {}, arm["verdict"]
        low = f" [{versus['low']:.2f}, {versus['high']:.2f}]" if versus else ""
        found.append(
            [
                arm["name"],
                f"{form(verdict['mean'])} ± {form(verdict['std'])}",
                form(verdict["median"]),
                form(arm["regret"]["mean"]),
                f"{arm['optimum']:.2f}",
                f"{arm['queries']['mean'] or 0:.0f}",
                own(arm),
                f"{versus['corrected']:.2g}" if versus else "–",
                f"{versus['effect']:.2f}{low}" if versus else "–",
                versus.get("verdict", "–" if arm["name"] != figures["random"] else ""),
            ]
        )
    sign = -1 if figures["measure"]["direction"] == "min" else 1
    for free in figures["free"] if figures["measure"]["name"] != "hypervolume" else ():
        lost = form(figures["best"]["verdict"] - sign * free["verdict"])
        found.append([free["name"], form(free["verdict"]), "", lost, "", "0", "", "", "", ""])
    return found


def own(arm: Figures) -> str:
    """Return a strategy's own time a search."""
    spent = arm["own_seconds"]["mean"] or 0.0
    return seconds(spent) if spent >= 1 else f"{1000 * spent:.0f} ms"


def told(figures: Figures) -> str:
    """Return the comparison as a person reads it on a terminal."""
    body = columns([head(figures), *rows(figures)])
    return "\n".join([scope(figures), *body, *(f"note: {text}" for text in notes(figures))])


def scope(figures: Figures) -> str:
    """Return in one line what was compared under which budget."""
    contest, budget = figures["contest"], figures["budget"]
    asked = f"{budget['queries']} queries" if budget["queries"] else ""
    if budget["cost"]:
        asked += (" or " if asked else "") + f"{budget['cost']:,.0f} {figures['unit']}"
    best = former(figures["measure"])(figures["best"]["verdict"])
    unit = " (%)" if figures["measure"]["form"] == "percent" else ""
    return f"{contest['task']}: {asked} a search, {contest['runs']} runs each; the best there is: {best}{unit}"


def notes(figures: Figures) -> list[str]:
    """Return what a reader must know about these figures."""
    found = []
    if figures["contest"]["runs"] < FEWEST:
        found.append(f"fewer than {FEWEST} runs: no comparison is made")
    losers = [a["name"] for a in figures["arms"] if a["versus"] and a["versus"]["verdict"] != "better"]
    if losers:
        found.append(f"not shown to beat random search at level {figures['level']:g}: {', '.join(losers)}")
    failing = [f"{a['name']} ({a['failed']:.0%})" for a in figures["arms"] if a["failed"]]
    if failing:
        found.append(f"evaluations that failed: {', '.join(failing)}")
    return found


def html(figures: Figures) -> str:
    """Return the whole page, self-contained."""
    contest = figures["contest"]
    title = f"{len(figures['arms'])} searches on {contest['task']}, {contest['runs']} runs each"
    words = [scope(figures), *notes(figures)]
    content = join(
        tag(
            "header",
            tag("h1", title),
            *(tag("p", text, class_="lead" if not i else None) for i, text in enumerate(words)),
        ),
        section("table", "At the end of the budget", _table(figures)),
        section("queries", "Regret against queries", _curves(figures, "queries")),
        section("clock", f"Regret against {_clock(figures)}", _curves(figures, "clock")),
        section("more", "Behind the figures", _more(figures)),
        section("phases", "What the search sees, and what is true", _phases(figures)) if figures["phases"] else "",
        section("card", "Ten criteria", _card(figures)),
        section("conditions", "Conditions", _conditions(figures)),
    )
    return document(title, content)


def _clock(figures: Figures) -> str:
    unit = str(figures["unit"])
    return {"s": "simulated seconds"}.get(unit, unit)


def _table(figures: Figures) -> Markup:
    level = figures["level"]
    caption = (
        "Mean ± standard deviation over runs of the verdict on the incumbent, which is chosen by what the search saw. "
        "P(best): share of runs that found the best there is. Own time: of the strategy itself, wall clock. p: two-sided "
        f"Mann–Whitney against random search, Holm-corrected over the arms; level {level:g}. Effect: P(arm > random) + "
        "½ P(equal), 95 % bootstrap interval. The last rows are searches that cost no query at all."
    )
    return table(head(figures), rows(figures), caption)


def _curves(figures: Figures, axis: str) -> Markup:
    form, best = former(figures["measure"]), abs(figures["best"]["verdict"]) or 1.0
    floor = 1e-4 if figures["measure"]["form"] == "percent" else 1e-4 * best
    pictures = []
    for middle, low, high, hint in (
        ("mean", None, None, "mean, band ± 1.96 standard errors"),
        ("median", "low", "high", "median, band between the quartiles"),
    ):
        curves = [_curve(arm["name"], arm["curves"][axis], middle, low, high) for arm in figures["arms"]]
        words = "queries" if axis == "queries" else _clock(figures)
        picture = regrets(f"{hint.split(',')[0]} regret against {words}", curves, words, form, floor)
        pictures.append(figure(picture, "", f"{hint}; the lowest line of the picture stands for no regret at all."))
    return tag("div", *pictures, class_="grid")


def _curve(name: str, held: Figures, middle: str, low: str | None, high: str | None) -> Curve:
    line = held[middle]
    if low is not None and high is not None:
        return Curve(name, held["at"], line, held[low], held[high])
    pairs: Sequence[tuple[Any, Any]] = list(zip(line, held["error"], strict=True))
    below = [None if m is None else max(m - 1.96 * e, 0.0) for m, e in pairs]
    above = [None if m is None else m + 1.96 * e for m, e in pairs]
    return Curve(name, held["at"], line, below, above)


def _more(figures: Figures) -> Markup:
    form, found = former(figures["measure"]), []
    for arm in figures["arms"]:
        area = "–" if arm["log_area"] is None else f"{arm['log_area']:.2f}"
        worst = arm["verdict"]["min"]
        seen = arm["mean_measured"]["mean"]
        found.append(
            (
                arm["name"],
                form(arm["verdict"]["low"]) + " to " + form(arm["verdict"]["high"]),
                form(worst),
                "–" if arm["surpasses"] is None else f"{arm['surpasses']:.3f}",
                form(arm["valid_regret"]["mean"]),
                area,
                form(seen) if figures["measure"]["name"] != "hypervolume" else "–",
                f"{arm['repeated']:.0%}",
                f"{arm['utilisation']:.2f}",
                f"{arm['kwh']:.2f}" if figures["unit"] == "s" else "–",
            )
        )
    names = (
        "strategy",
        "quartiles",
        "worst run",
        "beats a random one",
        "seen regret",
        "log area",
        "mean measured",
        "repeated",
        "workers busy",
        "kWh",
    )
    caption = (
        "Beats a random one: probability that the incumbent's verdict is above that of a row drawn at random; ½ is no search. "
        "Seen regret: of what the search itself looks at. Log area: mean over queries of log10 of it, smaller is better. "
        "Mean measured: of everything that was measured, the best and the bad. Repeated: queries spent on an architecture "
        f"measured before. kWh: simulated seconds at {WATT:g} W."
    )
    return table(names, found, caption)


def _phases(figures: Figures) -> Markup:
    rows = [(name, "–" if tau is None else f"{tau:.3f}") for name, tau in figures["phases"].items()]
    caption = (
        "Kendall's τ between what a query returns and the verdict, over the rows of the table and among those with the best "
        "verdicts. A search can be no better than what it sees: where τ is low among the best, so is everybody's ceiling."
    )
    return table(("rows", "τ"), rows, caption)


def _card(figures: Figures) -> Markup:
    arms = figures["arms"]
    form = former(figures["measure"])
    best = min(arms, key=lambda a: a["regret"]["mean"] if a["regret"]["mean"] is not None else float("inf"))
    steady = min(arms, key=lambda a: a["verdict"]["std"] if a["verdict"]["std"] is not None else float("inf"))
    quick = min(arms, key=lambda a: a["own_seconds"]["mean"] or 0.0)
    pairs = [
        ("quality", f"least mean regret: {best['name']}, {form(best['regret']['mean'])}"),
        ("efficiency", f"least own time: {quick['name']}, {own(quick)} a search"),
        ("stability", f"least spread: {steady['name']}, {form(steady['verdict']['std'])}; worst runs are in the table"),
        ("interpretability", "what a strategy can explain (motifs, effects of options) is in its own report, not here"),
        (
            "reproducibility",
            f"seeds 0 to {figures['contest']['runs'] - 1}; table {figures['contest']['table']}; runs repeat bit for bit",
        ),
        ("engineering", "; ".join(f"{a['name']}: {a['tier']}" for a in arms) + " (the strongest level shown here)"),
        ("scalability", f"{figures['budget']['workers']} simulated worker(s); busy shares are in the table"),
        ("generalisability", "one table; run the same words on three or more before you conclude"),
        (
            "eco-cost",
            f"simulated seconds × {WATT:g} W, in the table" if figures["unit"] == "s" else "not known of this table",
        ),
        ("novelty", "left to the reader"),
    ]
    return table((), pairs, "Dong et al., 2021: what a comparison should say beside accuracy.", class_="pairs")


def _conditions(figures: Figures) -> Markup:
    contest = figures["contest"]
    pairs = [
        ("table", f"{contest['task']} ({contest['table']}), {figures['best']['rows']:,} rows"),
        *figures["protocol"].items(),
    ]
    pairs.append(
        (
            "charging",
            "a query a job, its seconds by the table; repeated architectures as the protocol says; own time apart",
        )
    )
    own = [(a["name"], ", ".join(f"{k}={v}" for k, v in a["options"].items()) or "defaults") for a in figures["arms"]]
    return join(
        table((), pairs, class_="pairs"), table(("strategy", "options"), own, class_="list"), note(*_warning(figures))
    )


def _warning(figures: Figures) -> list[str]:
    return [
        "A table is one draw of a few trainings: differences far below its noise mean nothing, however many runs are made."
    ]
