"""What a benchmark table costs: reading it, queries a second, one by one and many at once, and 500 searches of it.

    python benchmarks/tables.py [--quick]

Processor time, so that a busy machine says the same as an idle one; the best of several rounds. A query is `evaluate` of a
random architecture of the space (for spaces where several forms are one network, one that was asked before); many at once
are `lookup(rows.numbers(codes))`. The searches are regularized evolution for 12,000 simulated seconds. Tables that are not on this machine are left out.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from conditions import show, write
from steps import Bound

from mimar.core.errors import DataAbsentError
from mimar.core.streams import Draws
from mimar.evaluators.benchmarks import BENCHMARKS
from mimar.evaluators.table import Table
from mimar.space import Proposal
from mimar.study.contest import Arm, one

TABLES = ("nasbench201", "nasbench-macro", "nasbench-graph", "spikenas", "nas-bench-nlp", "ec-nas", "fcnet")
SEARCHES = 500
BOUNDS = {
    "searches": Bound("<=", 5.0),
    "load": Bound("<=", 0.3),
    "one by one": Bound(">=", 200_000),
    "at once": Bound(">=", 1_000_000),
}


def best(work: Callable[[], Any], rounds: int) -> float:
    """Return the processor time of the fastest round, in seconds."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def measured(name: str, queries: int, rounds: int) -> list[dict[str, Any]]:
    """Return three rows of a table: seconds to read it, and queries a second in both forms."""
    module, kind = BENCHMARKS[name]
    made = getattr(importlib.import_module(f"mimar.evaluators.tables.{module}"), kind)()
    table: Table = made.table()
    rng = Draws(0, "benchmark")
    proposals = [Proposal(table.space.sample(rng)) for _ in range(min(queries, 10_000))]
    many = table.rows.codes[np.arange(queries) % len(table)]
    metric = table.measures[0].name

    def one_by_one() -> None:
        for proposal in proposals:
            table.evaluate(proposal)

    one_by_one()  # what is remembered, is
    table.lookup(table.rows.numbers(many), metric)
    figures = {
        "load": best(made.table, rounds),
        "one by one": len(proposals) / best(one_by_one, rounds),
        "at once": queries / best(lambda: table.lookup(table.rows.numbers(many), metric), rounds),
    }
    return [
        {
            "table": name,
            "measure": "seconds to read it" if what == "load" else f"queries a second, {what}",
            "must": f"{BOUNDS[what].sign} {BOUNDS[what].must:g}",
            "figure": f"{figure:.3g}",
            "reached": BOUNDS[what].reached(figure),
            "rows": len(table),
            "rounds": rounds,
        }
        for what, figure in figures.items()
    ]


def searched(searches: int) -> list[dict[str, Any]]:
    """Return the row of so many searches of NAS-Bench-201 one after the other, in seconds of one core."""
    arm = Arm("regularized-evolution", "regularized-evolution", {"seconds": 12_000.0})
    one(arm.search("nasbench201", 0), 0)  # what is remembered, is
    figure = best(lambda: [one(arm.search("nasbench201", seed), seed) for seed in range(searches)], 1)
    return [
        {
            "table": "nasbench201",
            "measure": f"seconds of {searches} searches by regularized evolution",
            "must": f"{BOUNDS['searches'].sign} {BOUNDS['searches'].must:g}",
            "figure": f"{figure:.3g}",
            "reached": BOUNDS["searches"].reached(figure),
            "rows": 15_625,
            "rounds": 1,
        }
    ]


def main() -> None:
    """Measure, print, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and few; nothing is written")
    quick = parser.parse_args().quick
    rows: list[dict[str, Any]] = []
    for name in TABLES[1:4] if quick else TABLES:
        try:
            rows += measured(name, 1000 if quick else 1_000_000, 1 if quick else 7)
            rows += searched(SEARCHES) if name == "nasbench201" else []
        except DataAbsentError as error:
            print(error)
    if not rows:
        return
    show(rows) if quick else write("tables", rows)


if __name__ == "__main__":
    main()
