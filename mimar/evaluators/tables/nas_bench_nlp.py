"""NAS-Bench-NLP on WikiText-2: recurrent cells as graphs of operations, with their losses epoch by epoch."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mimar.core.errors import DataError, SpaceError
from mimar.core.ranges import validate
from mimar.evaluators.table import Table
from mimar.space import Architecture, Choice, Space
from mimar.space.structures import Graph
from mimar.tasks import locate

EPOCHS = 50
NAME = "recipe"
DEAD = "none"  # the label of what fills the graph of a small cell up to the size of the largest
INPUT, OUTPUT = re.compile(r"x|h_prev_\d+"), re.compile(r"h_new_\d+")

Recipe = dict[str, dict[str, Any]]  # {node: {"op": …, "input": [node or input, …]}}


@dataclass(frozen=True)
class NasBenchNlp:
    """The table of 289 recorded recipes: validation loss (nats a word) after each of 50 epochs; the verdict is the test loss.

    345 trainings were recorded on WikiText-2. Some recipes were trained twice or three times: `seeds` is their "mean", or
    "one" of them drawn by query. Four trainings that diverged are left out, and so are recipes without another one.
    The space is one choice among the recipes, by the number of the first training; as graphs (for kernels on graphs) they
    have a node for each operation, input and new state. Going on from fewer epochs costs the difference alone, in seconds
    of the original training. The budget of a search that names none is that of 100 trainings. Klyuchnikov et al.,
    "NAS-Bench-NLP", 2020.
    """

    seeds: Literal["mean", "one"] = "mean"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the table. Raises DataAbsentError, saying where to get it, when it is not on this machine."""
        runs = _runs(locate.find("nas-bench-nlp"))
        names = tuple(str(trained[0]["recepie_id"]) for trained in runs)
        most = max(map(len, runs))
        valid = np.full((most, EPOCHS, len(runs)), np.nan)
        for row, trained in enumerate(runs):
            for s, run in enumerate(trained):
                valid[s, :, row] = run["val_losses"]
        mean = {
            key: np.array([np.mean([run[key] for run in trained]) for trained in runs])
            for key in ("epoch_s", "num_params")
        }
        recipes = tuple(zip(names, (json.dumps(trained[0]["recepie"]) for trained in runs), strict=True))
        seconds = np.outer(np.arange(1, EPOCHS + 1), mean["epoch_s"])
        return Table.from_arrays(
            Space([Choice(NAME, names)], structure=Recurrent(recipes)),
            {"valid_loss": valid},
            final={"test_loss": [np.mean([run["test_losses"][-1] for run in trained]) for trained in runs]},
            known={"params": mean["num_params"]},
            minimise=("valid_loss", "test_loss"),
            units={"valid_loss": "nats", "test_loss": "nats"},
            seconds=seconds,
            fidelities=range(1, EPOCHS + 1),
            resumes=True,
            name="nas-bench-nlp",
            single=self.seeds == "one",
            budget=100.0 * float(seconds[-1].mean()),
        )


@dataclass(frozen=True)
class Recurrent:
    """Recurrent cells as graphs: `recipes` are pairs of a name and a recipe in JSON."""

    recipes: tuple[tuple[str, str], ...]
    layout = None

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the architecture itself: recipes are told apart by their text."""
        return arch

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the architecture itself."""
        return arch

    def enumerate(self) -> Iterator[Architecture] | None:
        """Return None: the order of the choice's options is that of the records."""
        return None

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """All labels of graph nodes: operations, inputs and new states, and that of the filling."""
        labels = {label for recipe in self._parsed.values() for label in _graph(recipe)[0]}
        return (DEAD, *sorted(labels))

    def graph(self, arch: Architecture) -> Graph:
        """Return inputs, operations after those they take, and new states; isolated nodes fill it up to the largest cell."""
        labels, edges = _graph(self._of(arch))
        return labels + [DEAD] * (self._size - len(labels)), edges

    def ungraph(self, graph: Graph) -> Architecture:
        """Return the first recipe with these labels and edges; raises SpaceError where there is none."""
        labels, edges = [label for label in graph[0] if label != DEAD], sorted(graph[1])
        for name, recipe in self._parsed.items():
            known, led = _graph(recipe)
            if known == labels and sorted(led) == edges:
                return Architecture.trusted({NAME: name})
        raise SpaceError("no recorded recipe has this graph")

    @property
    def path_count(self) -> int:
        """The length of a path code: the different ways from an input to a new state in all recipes."""
        return len(self._ways)

    def paths(self, arch: Architecture) -> list[int]:
        """Number the sequences of labels from an input to a new state."""
        return sorted({self._ways[way] for way in _ways(self._of(arch))})

    def _of(self, arch: Architecture) -> Recipe:
        if arch.get(NAME) not in self._parsed:
            raise SpaceError(f"{dict(arch)!r} is not one of the {len(self.recipes)} recorded recipes")
        return self._parsed[arch[NAME]]

    @cached_property
    def _parsed(self) -> dict[str, Recipe]:
        return {name: json.loads(text) for name, text in self.recipes}

    @cached_property
    def _size(self) -> int:
        return max(len(_graph(recipe)[0]) for recipe in self._parsed.values())

    @cached_property
    def _ways(self) -> dict[tuple[str, ...], int]:
        found = sorted({way for recipe in self._parsed.values() for way in _ways(recipe)})
        return {way: number for number, way in enumerate(found)}


def _graph(recipe: Recipe) -> Graph:
    taken = {source for node in recipe.values() for source in node["input"]}
    order = sorted(source for source in taken if INPUT.fullmatch(source) and source not in recipe)
    labels, left = list(order), dict(recipe)
    while left:  # those first that take nothing of what is left
        ready = [name for name, node in left.items() if not any(source in left for source in node["input"])]
        labels += [left[name]["op"] for name in ready]
        order += ready
        left = {name: node for name, node in left.items() if name not in ready}
        if not ready:
            raise DataError(f"a recorded recipe goes in a circle: {', '.join(left)}")
    place = {name: i for i, name in enumerate(order)}
    states = sorted(name for name in recipe if OUTPUT.fullmatch(name))
    edges = [(place[source], place[name]) for name, node in recipe.items() for source in node["input"]]
    edges += [(place[name], len(order) + i) for i, name in enumerate(states)]
    return labels + states, edges


def _ways(recipe: Recipe) -> set[tuple[str, ...]]:
    labels, edges = _graph(recipe)
    ways: list[set[tuple[str, ...]]] = [set() for _ in labels]
    for j, label in enumerate(labels):
        before = [way for i, k in edges if k == j for way in ways[i]]
        ways[j] = {(*way, label) for way in before} or ({(label,)} if INPUT.fullmatch(label) else set())
    return {way for label, here in zip(labels, ways, strict=True) if OUTPUT.fullmatch(label) for way in here}


def _runs(path: Path) -> list[list[dict[str, Any]]]:
    """Return the whole trainings of each recipe, in the order in which recipes were recorded first."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            records = json.load(file)
        found: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            if len(record["val_losses"]) == EPOCHS:
                found.setdefault(json.dumps(record["recepie"], sort_keys=True), []).append(record)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as records of trainings: {' '.join(str(error).split())[:160]}"
        ) from None
    return list(found.values())
