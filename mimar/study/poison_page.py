"""Which searchers suffer from a poisoned space, on a page: python -m mimar.study.poison_page RECIPE … --out FILE."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mimar.core.errors import MimarError
from mimar.core.units import columns
from mimar.evaluators import benchmarks
from mimar.report.anytime import Curve, regrets
from mimar.report.markup import Markup, figure, join, section, table, tag
from mimar.report.page import document
from mimar.runs.files import write_atomic
from mimar.study.contest import Arm
from mimar.study.figures import spread
from mimar.study.poisoning import COPIES, GUARDS, Guard, Row, losses, measure
from mimar.study.ranking import FEWEST, LEVEL, Versus, against

FLOOR = 1e-4  # a loss drawn as none


def suffering(rows: Sequence[Row]) -> dict[tuple[str, int], Versus]:
    """Return {(strategy, copies): against the same strategy on the clean space}, run by run with equal seeds.

    Wilcoxon's signed ranks of the verdicts, corrected over the numbers of copies; nothing below 8 runs.
    """
    found: dict[tuple[str, int], Versus] = {}
    for clean in (row for row in rows if row.copies == 0 and row.runs >= FEWEST):
        ill = {str(row.copies): row.tests for row in rows if row.strategy == clean.strategy and row.copies}
        tested = against(ill, clean.tests, paired=True)
        found |= {(clean.strategy, int(copies)): versus for copies, versus in tested.items()}
    return found


def head(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the heading of the table."""
    copies = [f"{n} {'copy' if n == 1 else 'copies'}" for n in sorted({row.copies for row in rows})]
    return ("strategy", *(f"best, {n}" for n in copies), "lost", *(f"mean, {n}" for n in copies), "lost")


def body(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table: verdict on the best and mean of all measured by copies, in %; a † where the loss is significant."""
    lost, ill, found = losses(rows), suffering(rows), []
    most = max(row.copies for row in rows)
    for name in dict.fromkeys(row.strategy for row in rows):
        own = sorted((row for row in rows if row.strategy == name), key=lambda row: row.copies)
        best = []
        for row in own:
            versus = ill.get((name, row.copies))
            mark = " †" if versus and versus.verdict == "worse" else ""
            best.append(f"{100 * row.test:.2f} ± {100 * (spread(row.tests)['std'] or 0.0):.2f}{mark}")
        means = [f"{100 * row.sampled:.1f}" for row in own]
        verdict, mean = lost[name, most]
        found.append([name, *best, f"{100 * verdict:.2f}", *means, f"{100 * mean:.1f}"])
    return found


def told(rows: Sequence[Row]) -> str:
    """Return the table as a person reads it on a terminal."""
    return "\n".join(columns([head(rows), *body(rows)]))


def html(rows: Sequence[Row], task: str, option: str, queries: int) -> str:
    """Return the page: the table and how the best and the mean fall with the number of copies."""
    guard = {"none": "no guard", "canonical": "memory of other spellings", "merged": "equal options merged"}[
        rows[0].guard
    ]
    title = f"Poisoned by {option!r}: {task}"
    lead = f"{queries} queries a search, {rows[0].runs} runs each; {guard}; figures in %."
    caption = (
        "Best: the verdict on the best measured architecture, mean ± standard deviation. Mean: of everything that was "
        "measured. Lost: between no copy and the most. †: below the clean space by Wilcoxon's signed ranks over equal "
        f"seeds, Holm-corrected over the numbers of copies, level {LEVEL:g}."
    )
    return document(
        title,
        join(
            tag("header", tag("h1", title), tag("p", lead, class_="lead")),
            section("table", "Who suffers", table(head(rows), body(rows), caption)),
            section("curves", "By copies", tag("div", *_pictures(rows), class_="grid")),
        ),
    )


def _pictures(rows: Sequence[Row]) -> list[Markup]:
    of: dict[str, Callable[[Row], tuple[float, ...]]] = {
        "lost by the best found": lambda row: row.tests,
        "lost by everything measured": lambda row: row.means,
    }
    found = []
    for words, runs in of.items():
        curves = [
            _curve(clean, [r for r in rows if r.strategy == clean.strategy and r.copies], runs)
            for clean in rows
            if clean.copies == 0
        ]
        picture = regrets(f"{words} against copies", curves, "copies of the useless option", points, FLOOR)
        found.append(
            figure(
                picture,
                f"{words.capitalize()}, in points",
                "mean over runs, band ± 1.96 standard errors; the lowest line stands for no loss",
            )
        )
    return found


def _curve(clean: Row, ill: Sequence[Row], runs: Callable[[Row], tuple[float, ...]]) -> Curve:
    lost = [spread([a - b for a, b in zip(runs(clean), runs(row), strict=True)]) for row in ill]
    middle = [s["mean"] for s in lost]
    low, high = ([s["mean"] + z * (s["std"] or 0.0) / math.sqrt(s["n"]) for s in lost] for z in (-1.96, 1.96))
    return Curve(clean.strategy, [row.copies for row in ill], [max(m, FLOOR) for m in middle], low, high)


def points(value: float) -> str:
    """Return a fraction in points without needless decimals."""
    return f"{100 * value:.3g}"


def copies(text: str) -> tuple[int, ...]:
    """Return the numbers of copies that "1,5,25" names, and 0."""
    return tuple(sorted({0, *map(int, text.split(","))}))


def main() -> None:
    """Measure recipes on poisoned spaces of a table, print the figures and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--task", default="nasbench201:epochs=200")
    parser.add_argument("--option", default="none", help="the useless option, of which copies are added")
    parser.add_argument("--copies", type=copies, default=COPIES, help="numbers with commas between them")
    parser.add_argument("--guard", default="none", choices=GUARDS)
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("runs/poisoning.html"))
    given = parser.parse_args()
    guard: Guard = given.guard
    size: dict[str, Any] = {
        "option": given.option,
        "copies": given.copies,
        "queries": given.queries,
        "runs": given.runs,
    }
    try:
        strategies = {name: Arm(name, name).search(given.task, 0).strategy for name in given.recipes}
        rows = measure(benchmarks.named(given.task), strategies, guard=guard, **size)
    except MimarError as error:
        parser.error(str(error))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(given.out, html(rows, given.task, given.option, given.queries))
    print(told(rows), f"page  {given.out}", sep="\n")


if __name__ == "__main__":
    main()
