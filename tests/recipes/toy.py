"""Every recipe on one toy: the search phase alone, in a fraction of a second."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mimar import recipes
from mimar.core.events import Step
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import tiny_task

# What the toy needs beside epochs and batch: nets that a recipe can change, and figures small enough for six steps.
SMALL: dict[str, dict[str, Any]] = {
    "pc-darts": {"net": "nasbench201:cells=1,channels=4", "warmup": 0},
    "bnas": {"net": "nasbench201:cells=1,channels=4", "rounds": 1, "left": 4},
    "gtn": {"iterations": 2, "candidates": 2, "steps": 2, "imitate": 2},
    "sd-darts": {"every": 1},
    "random-ws": {"candidates": 2},
    "enas": {"candidates": 2, "queries": 3},
    "idarts": {"inner_steps": 1},
    "darts-es": {"first": 1, "around": 0, "back": 1, "threshold": 1.001},
    "eas": {
        "net": "convnet:channels=2,widths=2,stages=1",
        "queries": 5,
        "batch": 2,
        "episodes": 1,
        "filled": 0,
        "deeper": 1,
        "embedding": 2,
        "hidden": 3,
    },
    "darts-ada": {"first": 1, "around": 0, "back": 1, "threshold": 1.001},
}

GROWN = ("eas",)  # asks and tells, but needs networks that grow, which no table has
ESTIMATED = ("diswot",)  # scores untrained networks, whatever the task: tests/recipes/test_recipes_scores.py


class MadeUp:
    """Two scores of any architecture, made up of its digest; `salt` makes others."""

    costly = False

    def __init__(self, salt: int = 0) -> None:
        self.salt = salt

    def identity(self) -> str:
        """Return what stands for it in the description of a search."""
        return f"made up with {self.salt}"

    def __call__(self, architectures: Sequence[Any]) -> Any:
        rows = [[int(a.digest[i + self.salt :][:6], 16) for i in (0, 6)] for a in architectures]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)


# What recipes need to ask a table in a moment.
ASKED: dict[str, dict[str, Any]] = {
    "robot": {"scores": MadeUp(), "candidates": 200},
    "nas-bowl": {"batch": 10, "candidates": 30},
    "neural-predictor": {"initial": 20, "batch": 20, "candidates": 50, "epochs": 2},
    "gbdt-nas": {"initial": 20, "batch": 20, "candidates": 50, "rounds": 10},
    "gbdt-nas-3s": {"initial": 20, "batch": 20, "candidates": 50, "rounds": 10},
    "fbnetv3": {
        "initial": 20,
        "batch": 20,
        "rounds": 1,
        "candidates": 30,
        "generations": 2,
        "epochs": 4,
        "unlabelled": 20,
    },
}


def every() -> list[str]:
    """Return the names of all recipes and of their variants."""
    return [n + (f":{v}" if v else "") for n in recipes.names() for v in ("", *recipes.variants(n))]


def names() -> list[str]:
    """Return the names of the recipes that train shared weights, a teacher, alphas, or networks that grow."""
    return [n for n in every() if n in GROWN or "trials" not in inspect.signature(recipes.load(n)[1]).parameters]


def blackbox() -> list[str]:
    """Return the names of the recipes that ask and tell, of those that measure by training or a table."""
    return [n for n in every() if n not in names() and n not in ESTIMATED]


def options(name: str, **more: Any) -> dict[str, Any]:
    """Return the toy's options that a recipe knows."""
    known = inspect.signature(recipes.load(name)[1]).parameters
    common = {"net": None, "task": tiny_task(), "epochs": 3, "batch": 16, "baseline": 1}
    common["retrain"] = Retrain(epochs=1, batch=16)
    given = {**common, **SMALL.get(name, {}), **more}
    if given["net"] is None:
        given["net"] = tiny_model().float()
    return {key: value for key, value in given.items() if key in known}


def searched(name: str, **more: Any) -> tuple[State, float]:
    """Return the last state of the search phase, with the queue of networks to train, and the seconds of its slowest step."""
    search = recipes.load(name)[1](**options(name, **more))
    state = search.start()
    slowest, last, kept = 0.0, time.process_time(), state.snapshot()
    for event in search.events(state):
        if state.json["phase"] in ("retrain", "done"):
            kept.json |= {"queue": state.json["queue"]} if "queue" in state.json else {}
            break
        if isinstance(event, Step):
            slowest, last = max(slowest, time.process_time() - last), time.process_time()
            kept = state.snapshot()
    return kept, slowest
