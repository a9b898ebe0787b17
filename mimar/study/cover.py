"""Whether every strategy works wherever a search may take place: {strategy} × {who measures} × {scheduler} × {what is wanted}.

`python -m mimar.study.cover FILE` runs the whole product and writes a line of CSV a case: what came of it, queries, cost and
best value. Everything is made up and tiny: a table of 144 rows with three fidelities, and a net of 81 networks that train
in milliseconds.
"""

from __future__ import annotations

import csv
import functools
import inspect
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from mimar import recipes
from mimar.core.errors import MimarError
from mimar.core.events import Record
from mimar.core.streams import Draws, isolated
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.search.finish import plain
from mimar.search.outcome import described, incumbent
from mimar.space import Choice, OneOf, Space, Trial
from mimar.tasks import arrays

WHERE = {"table": "", "train": "", "shared": "shared:epochs=1,batch=16", "proxy": "proxy:synflow:batch=8,draws=9"}
SCHEDULERS = {"serial": ("asynchronous", 1), "asynchronous": ("asynchronous", 4), "asha": ("asha", 1)}
AIMS = ("scalar", "pareto", "constrained")
QUERIES, TRAINED = 20, 8  # where networks are trained fewer
LIMITS = {"table": 3_500, "net": 330}  # parameters, which about half of either space has
SPECIAL = {"eas": "growing needs a space with a chain"}  # strategies for spaces of one kind, which neither of these is


class Case(NamedTuple):
    """One cell of the product."""

    strategy: str
    where: str
    scheduler: str
    aim: str


class Outcome(NamedTuple):
    """What a case gave: its trials in the order in which they ended, and the result's JSON."""

    trials: list[Trial]
    found: dict[str, Any]


class Digests:
    """Two scores of any architecture, made of its digest, for strategies that want some."""

    costly = False

    def __call__(self, architectures: Sequence[Any]) -> Any:
        return np.array([[int(a.digest[i : i + 6], 16) for i in (0, 6)] for a in architectures], dtype=float)


# Figures so small that 20 queries are enough for what a strategy has learned to show, where a recipe has such a keyword.
SMALL = {"initial": 6, "population": 6, "sample": 3, "candidates": 40, "epochs": 3, "beam": 4, "generations": 2}
SMALL |= {
    "rounds": 3,
    "fantasies": 5,
    "steps": 8,
    "hidden": 8,
    "unlabelled": 30,
    "mutations": 20,
    "refit": 5,
    "height": 2,
}
SMALL |= {"batch": 4, "replayed": 2}
GIVEN: dict[str, Any] = {**SMALL, "scores": Digests()}


@functools.cache
def strategies() -> tuple[str, ...]:
    """Return the recipes that ask and tell on any space and leave to `trials.evaluator` who measures: new ones, too."""
    known = [n + (f":{v}" if v else "") for n in recipes.names() for v in ("", *recipes.variants(n))]
    built = {n: recipes.load(n)[1]() for n in known if "trials" in inspect.signature(recipes.load(n)[1]).parameters}
    asking = [n for n, search in built.items() if isinstance(search, AskTell) and not search.trials.evaluator]
    return tuple(n for n in asking if n not in SPECIAL)


def product_of_all() -> Iterator[Case]:
    """Yield every case."""
    yield from (Case(*levels) for levels in product(strategies(), WHERE, SCHEDULERS, AIMS))


@functools.cache
def table() -> Table:
    """Return a table over every kind of discrete choice and a condition: figures at three fidelities, parameters, seconds."""
    space = Space(
        [
            Choice("op", ("conv", "pool", "skip")),
            Choice("width", (8, 16, 32, 64), "size"),
            Choice("inputs", ("0", "1", "2"), "some", 2),
            Choice("act", ("relu", "silu", "tanh")),
            Choice("kernel", ("3", "5"), when=(("op", "conv"),)),
        ]
    )
    rows, rng = list(space.enumerate()), np.random.default_rng(0)
    params = [a["width"] * {"conv": 100.0, "pool": 300.0, "skip": 200.0}[a["op"]] for a in rows]
    good = 0.4 + 0.1 * np.log2([a["width"] for a in rows]) / 6 + 0.4 * rng.random(len(rows))
    levels = np.stack([good - 0.2 + 0.05 * rng.random(len(rows)), good - 0.1, good])
    seconds = np.outer([1.0, 3.0, 9.0], 1.0 + np.array(params) / 1e4)
    more: dict[str, Any] = {"final": {"test_accuracy": good - 0.01}, "known": {"params": params}}
    return Table.from_arrays(
        space, {"valid_accuracy": levels}, seconds=seconds, fidelities=(1, 3, 9), name="made up", **more
    )


@functools.cache
def task() -> Any:
    """Return 80 images of four classes, each with a bright row of its own."""
    y = torch.arange(80) % 4
    x = 0.5 * torch.randn(80, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    x[torch.arange(80), 0, y, :] += 2.0
    return arrays(x, y)


def net() -> nn.Module:
    """Return a net of 81 networks for images (1, 5, 5) of four classes, with the same weights every time."""
    with isolated(0):
        ops = [OneOf({"3": _conv(3), "1": _conv(1), "skip": nn.Identity()}, f"op{i}") for i in range(4)]
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), *ops, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 4)
        )


def _conv(size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, size, padding=size // 2), nn.BatchNorm2d(4), nn.ReLU())


def search(case: Case, seed: int = 0) -> AskTell:
    """Return the search of a case."""
    scheduler, workers = SCHEDULERS[case.scheduler]
    primary = "synflow" if case.where == "proxy" else "valid_accuracy"
    limit = LIMITS["table" if case.where == "table" else "net"]
    trials = Trials(
        scheduler=scheduler,
        workers=workers,
        evaluator=WHERE[case.where],
        objective=(primary, "params") if case.aim == "pareto" else (primary,),
        limits=(f"params<={limit}",) if case.aim == "constrained" else (),
    )
    build = recipes.load(case.strategy)[1]
    given = {k: v for k, v in GIVEN.items() if k in inspect.signature(build).parameters}
    given |= {"task": table()} if case.where == "table" else {"task": task(), "net": net()}
    given["queries"] = TRAINED if case.where == "train" else QUERIES
    retrain = Retrain(epochs=3 if case.scheduler == "asha" else 1, batch=16)
    found: AskTell = build(**given, trials=trials, retrain=retrain, seed=seed, baseline=0)
    return found


def run(case: Case, seed: int = 0) -> Outcome:
    """Run a case to its end."""
    what = search(case, seed)
    if case.where == "train" and case.scheduler == "asynchronous":
        return _out_of_order(what)
    records = [e.data for e in what.events(what.start()) if isinstance(e, Record)]
    return Outcome([Trial.from_json(r) for r in records if r["event"] == "trial"], records[-1]["result"])


def _out_of_order(what: AskTell) -> Outcome:
    """Run the protocol of real workers without their processes: what is under way is trained here, and ends in any order."""
    session, order, under_way = what._session(what.lab()), Draws(what.seed, "order"), []
    session.prepare()
    while True:
        while (job := session.begin()) is not None:
            under_way.append((session.launch(job), job))
        if not under_way:
            return Outcome(
                session.trials, {"architecture": plain(incumbent(session).architecture), **described(session)}
            )
        number, job = under_way.pop(order.below(len(under_way)))
        session.ended(number, session.terms.evaluator.evaluate(job.proposal, job.fidelity))


def _line(case: Case) -> list[Any]:
    try:
        found = run(case).found
    except MimarError as error:
        return [*case, "failed", "", "", str(error)]
    ledger = found["ledger"]
    return [*case, "ran", ledger["queries"], ledger["cost"], found["incumbents"][-1][2]]


def main(path: str) -> None:
    """Run the whole product and write what comes of it, a line at a time; ends with status 1 where a case failed."""
    counts, failed = Counter[str](), []
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([*Case._fields, "outcome", "queries", "cost", "best"])
        for case in product_of_all():
            line = _line(case)
            lines.writerow(line)
            file.flush()
            counts[line[4]] += 1
            failed += [line] if line[4] == "failed" else []
    print(", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items())))
    if failed:
        sys.exit(f"the first that failed: {failed[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
