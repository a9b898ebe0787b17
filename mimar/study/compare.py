"""Recipes beside each other and beside random search: the same space, task, seeds and final training, on one page.

The study is a list of cells (`mimar.study.cells`): every recipe under every seed, then one random search a seed, as
large as the dearest recipe asks; cheaper recipes are compared with its beginning. Killed at any moment, it goes on.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mimar import recipes
from mimar.core.describe import describe, digest
from mimar.core.errors import UsageError, nearest
from mimar.core.units import percent, seconds
from mimar.evaluators import Retrain
from mimar.runs.files import write_atomic
from mimar.runs.lock import Lock
from mimar.search.lab import DEFAULT_TASK, Lab
from mimar.study import cells, evidence, figures, page
from mimar.study.architectures import free_options
from mimar.study.cells import Cell
from mimar.study.crew import Crew, Outcome
from mimar.study.page import markdown
from mimar.study.statistics import ALPHA, FEWEST, POWER

__all__ = ["Study", "check", "markdown", "run", "table"]

RANDOM, SHARED = "random", "random-ws"  # always part of a study
SAME = ("net", "task", "seed", "device", "baseline", "retrain")  # what no recipe may have for itself
CELLS, FIGURES, PAGE = "cells", "compare.json", "compare.html"

Outcomes = Mapping[Cell, Outcome]


@dataclass(frozen=True)
class Study:
    """What is compared: recipes, what all of them share, and the options of each.

    `options`: recipe → keyword arguments of its own. Random search and random weight sharing are always there. Raises
    UsageError for unknown recipes, options that a recipe does not have, and seeds that are no distinct whole numbers.
    """

    recipes: tuple[str, ...]
    task: str = DEFAULT_TASK
    net: str | None = None
    seeds: tuple[int, ...] = tuple(range(FEWEST))
    retrain: Retrain = Retrain()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    device: str = "cpu"

    def __post_init__(self) -> None:
        given, whole = self.recipes, all(type(s) is int and s >= 0 for s in self.seeds)
        if not given:
            raise UsageError("a comparison needs at least one recipe; see `mimar list recipes`")
        if twice := sorted({name for name in given if given.count(name) > 1}):
            raise UsageError(f"the recipe {twice[0]!r} is given twice")
        if not self.seeds or not whole or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"the seeds of a comparison are distinct whole numbers of at least 0, not {self.seeds!r}")
        for name in self.names:
            accepted = set(inspect.signature(recipes.load(name)[1]).parameters) - set(SAME)
            for key in self.options.get(name, {}):
                if key in SAME:
                    raise UsageError(f"{name}: {key} is the same for all recipes of a comparison")
                if key not in accepted:
                    raise UsageError(f"{name}: {nearest(key, accepted, kind='option')}")
        for name in self.options:
            if name not in self.names:
                raise UsageError(
                    f"options for a recipe that is not compared: {nearest(name, self.names, kind='recipe')}"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """All rows of the table but random search, in their order: the recipes given, then random weight sharing."""
        given = tuple(name for name in self.recipes if name != RANDOM)
        return given if SHARED in given else (*given, SHARED)

    @cached_property
    def lab(self) -> Lab:
        """What all of them work on, under the first seed."""
        return Lab(self.net, self.task, self.seeds[0], "cpu", self.retrain.net)

    def ground(self, recipe: str) -> tuple[Mapping[str, frozenset[str]], str | None]:
        """Return which options of the space that a recipe searches have no parameters, and the space's layout.

        Most search the study's own net; a recipe that unties cells has other choices, and no table knows its cells.
        """
        if recipe not in self._grounds:
            lab = self.lab if recipe == RANDOM else cells.search(self.cell(recipe, self.seeds[0])).lab()
            self._grounds[recipe] = free_options(lab.supernet.model), lab.space.layout
        return self._grounds[recipe]

    @cached_property
    def _grounds(self) -> dict[str, tuple[Mapping[str, frozenset[str]], str | None]]:
        return {}

    def apart(self, recipe: str) -> bool:
        """Whether a recipe is compared with random networks of its own kind (sparse, binary, untied), trained by itself."""
        if recipe not in self._apart:
            self._apart[recipe] = cells.lasting(recipe)
        return self._apart[recipe]

    @cached_property
    def _apart(self) -> dict[str, bool]:
        return {}

    def cell(self, recipe: str, seed: int) -> Cell:
        """Return the cell of a recipe under a seed."""
        own = {**self.options.get(recipe, {}), "retrain": self.retrain, "baseline": None if self.apart(recipe) else 0}
        return Cell(recipe, {**own, "net": self.net, "task": self.task, "seed": seed, "device": self.device})

    def random(self, seed: int, networks: int) -> Cell:
        """Return the cell of a seed's random search."""
        own = {"task": self.task, "seed": seed, "queries": networks, "net": self.net, "retrain": self.retrain}
        return Cell(RANDOM, {**own, "device": self.device})

    def describe(self) -> dict[str, Any]:
        """Return the study as JSON."""
        same = {key: describe(getattr(self, key)) for key in ("task", "net", "seeds", "retrain", "device")}
        return {
            "recipes": list(self.names),
            **same,
            "options": {n: describe(self.options.get(n, {})) for n in self.names},
        }

    @property
    def home(self) -> str:
        """The name of the default folder, the same for all numbers of seeds: the same words go on, more seeds add cells."""
        same = {key: value for key, value in self.describe().items() if key != "seeds"}
        return f"compare-{self.task.partition(':')[0]}-{digest(same, 8)}"


def check(study: Study) -> None:
    """Raise now what would otherwise fail in every cell: wrong values, an unknown task or net, data that are not here."""
    if study.lab.primary.name != "accuracy":
        raise UsageError(
            f"networks on {study.task} are judged by {study.lab.primary.name}; a comparison needs accuracy"
        )
    study.lab.ready(study.retrain)
    for name in study.names:
        cells.search(study.cell(name, study.seeds[0])).start()


def run(study: Study, out: Path | str, *, workers: int = 1, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Run the study into the folder `out`, or go on with it, and return its figures.

    Writes compare.json and compare.html after every cell. A cell that fails is in them with its sentence, and is tried
    again by the next call. Raises UsageError where the study as a whole is wrong, RunError where another process runs it.
    """
    check(study)
    folder = Path(out)
    (folder / CELLS).mkdir(parents=True, exist_ok=True)
    held, sitting = Lock(folder), _Sitting(study, folder, tell)
    try:
        with Crew(folder / CELLS, workers) as crew:
            crew.work([study.cell(name, seed) for seed in study.seeds for name in study.names], sitting.note)
            crew.work(randoms(study, sitting.outcomes), sitting.note)
        return write(study, sitting.outcomes, folder)
    finally:
        held.release()


@dataclass
class _Sitting:
    """One call of `run`: what came of the cells so far, the page kept up to date, the time left."""

    study: Study
    folder: Path
    tell: Callable[[str], None]
    outcomes: dict[Cell, Outcome] = field(default_factory=dict)
    ran: int = 0
    begun: float = field(default_factory=time.monotonic)

    def note(self, cell: Cell, outcome: Outcome) -> None:
        self.outcomes[cell] = outcome
        self.ran += outcome.ran
        total = (len(self.study.names) + 1) * len(self.study.seeds)
        text = f"{len(self.outcomes)} of {total}: {cell.recipe}, seed {cell.options['seed']}: "
        if outcome.result is None:
            text += f"failed: {outcome.failure}"
        else:
            test = percent(outcome.result["metrics"]["test_accuracy"])
            text += f"{test} ({seconds(outcome.result['seconds'])}{'' if outcome.ran else ', was there'})"
        if outcome.ran:
            write(self.study, self.outcomes, self.folder)
            left = (time.monotonic() - self.begun) / self.ran * (total - len(self.outcomes))
            text += f"; about {seconds(left)} left" if left else ""
        self.tell(text)


def randoms(study: Study, outcomes: Outcomes) -> list[Cell]:
    """Return one random search a seed, as large as the dearest finished recipe asks; none where no recipe has finished."""
    found = []
    for seed in study.seeds:
        names = [name for name in study.names if not study.apart(name)]
        results = [r for name in names if (r := _result(outcomes, study.cell(name, seed)))]
        if results:
            found.append(study.random(seed, max(map(figures.size, results))))
    return found


def _itself(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the random search that a recipe made itself, in the form of that of the study."""
    drawn = cells.own_random(result)
    share = result["budget"]["baseline"] / max(sum(result["budget"].values()), 1.0)
    return {"trained": drawn, "seconds": result["seconds"] * share}


def _result(outcomes: Outcomes, cell: Cell) -> dict[str, Any] | None:
    return outcomes[cell].result if cell in outcomes else None


def table(study: Study, outcomes: Outcomes) -> dict[str, Any]:
    """Return all figures of the study as JSON, cells that failed or are still to come by name."""
    beside = {c.options["seed"]: o.result for c, o in outcomes.items() if c.recipe == RANDOM and o.result}
    free, layout = study.ground(RANDOM)
    rows = []
    for name in study.names:
        ours = {s: r for s in study.seeds if (r := _result(outcomes, study.cell(name, s)))}
        own = {**evidence.identity(name), "options": describe(dict(study.options.get(name, {})))}
        own["random_of_its_own"] = study.apart(name)
        its = {s: _itself(r) for s, r in ours.items()} if study.apart(name) else beside
        rows.append({"recipe": name, **own, **figures.of_recipe(ours, its, *study.ground(name))})
    failed = [
        {"recipe": c.recipe, "seed": c.options["seed"], "why": o.failure} for c, o in outcomes.items() if not o.result
    ]
    data, known = study.lab.data, {(c.recipe, c.options["seed"]) for c in outcomes}
    every = [(name, seed) for name in (*study.names, RANDOM) for seed in study.seeds]
    return {
        "study": study.describe(),
        "scale": {
            "sizes": {split: data.size(split) for split in ("train", "valid", "fit", "holdout", "test")},
            "choices": len(study.lab.space.choices),
            "layout": layout,
            "supernet_macs": study.lab.supernet_macs,
        },
        "versions": _versions(outcomes),
        "test": {"level": ALPHA, "power": POWER, "fewest_seeds": FEWEST},
        "recipes": rows,
        "random": figures.of_random(beside, free, layout),
        "failed": failed,
        "waiting": [{"recipe": name, "seed": seed} for name, seed in every if (name, seed) not in known],
    }


def _versions(outcomes: Outcomes) -> dict[str, Any]:
    """Return what the cells were computed on; a list where they differ."""
    held = [o.result["versions"] for o in outcomes.values() if o.result]
    found = {key: sorted({str(v.get(key)) for v in held}) for key in (held[0] if held else ())}
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


def write(study: Study, outcomes: Outcomes, folder: Path) -> dict[str, Any]:
    """Write the figures as compare.json and the page as compare.html, and return them."""
    found = table(study, outcomes)
    write_atomic(
        folder / FIGURES, json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"
    )
    write_atomic(folder / PAGE, page.html(found))
    return found
