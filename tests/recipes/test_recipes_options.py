"""Every keyword of every recipe acts: changed alone, the search ends in another state."""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mimar import recipes
from mimar.core import ranges
from mimar.core.state import State
from mimar.search import Trials
from mimar.testing import recipe as kit


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toy = load("toy")
CELL = "nasbench201:cells=1,channels=2"
ELSEWHERE = {
    "net",
    "task",
    "device",
    "baseline",
    "retrain",
}  # what they do is tested with the loops and with retraining

# What has to be so for a keyword to act, and the value it is changed to where the first one at hand says little.
WHERE: dict[tuple[str, str], dict[str, Any]] = {
    ("*", "alpha_lr"): {"travel": 0.0},
    ("*", "warmup"): {"epochs": 3},
    ("darts-prime", "travel"): {"travel": 0.5},  # gates between 0 and 1 reach their ends otherwise
    ("d-darts", "threshold"): {"net": CELL, "travel": 2.0},
    ("dartopti", "threshold"): {"net": CELL, "travel": 2.0},
    ("fair-darts", "threshold"): {"net": CELL, "travel": 2.0},
    ("darts-ada", "threshold"): {"epochs": 4},
    ("darts-ada", "every"): {"epochs": 4, "back": 2},
    ("darts-es", "every"): {"epochs": 4, "back": 2},
    ("darts-es", "threshold"): {"epochs": 4},
    ("darts-plus", "skips"): {"net": CELL, "skips": 1, "epochs": 4},
    ("darts-plus", "cell"): {"net": "s2:cells=3,channels=2", "skips": 9, "epochs": 4},
    ("darts-plus", "stable"): {"stable": 1, "epochs": 4},
    ("darts-pt", "renormalise"): {"net": CELL},
    ("gtn", "every"): {"steps": 4, "every": 1},
    ("manas-ls", "end"): {"start": 0.1},
}
VALUES: dict[tuple[str, str], Any] = {
    ("autohas", "tune"): "lr=0.02|0.2",
    ("bnas", "channels"): 4,
    ("darts-ada", "threshold"): 1e9,
    ("darts-es", "threshold"): 1e9,
    ("dartopti", "threshold"): 0.99,
    ("pc-darts", "channels"): 2,
    ("dropnas", "drop"): 0.5,
    ("manas-ls", "end"): 5.0,
    ("small-temperature", "threshold"): 0.4,
    ("eas", "filled"): 1,
    ("eas", "trials"): Trials(),
    ("gtn", "every"): 2,
    ("darts-plus", "cell"): "reduce",
}
SAME = {
    ("gtn", "checkpoint"),  # changes what is kept in memory, and no value: tests/evaluators
    ("darts-ada", "factor"),  # every factor ends at the most decay that is allowed on this toy: tests/gradient
}


def pairs() -> Iterator[tuple[str, str]]:
    for name in toy.names():
        for key in inspect.signature(recipes.load(name)[1]).parameters:
            if key not in ELSEWHERE and (name, key) not in SAME:
                yield name, key


def other(name: str, key: str, now: Any) -> Any:
    """Return another permitted value of a keyword."""
    build = recipes.load(name)[1]
    hint = ranges.hints(build).get(key)
    for value in kit._others(key, now, hint):
        if value != now and (hint is None or ranges.fits(value, hint)):
            return value
    raise AssertionError(f"no other value for {name}.{key}")


@functools.cache
def plain(name: str, more: tuple[tuple[str, Any], ...]) -> State:
    found: State = toy.searched(name, **dict(more))[0]
    return found


def differ(a: State, b: State) -> bool:
    if a.json != b.json or a.tensors.keys() != b.tensors.keys():
        return True
    return any(not torch.equal(a.tensors[n], t) for n, t in b.tensors.items())


@pytest.mark.parametrize(("name", "key"), list(pairs()))
def test_every_keyword_acts(name: str, key: str) -> None:
    where = WHERE.get((name, key), WHERE.get(("*", key), {}))
    default = inspect.signature(recipes.load(name)[1]).parameters[key].default
    now = toy.options(name, **where).get(key, default)
    value = VALUES.get((name, key), other(name, key, now))
    known = inspect.signature(recipes.load(name)[1]).parameters
    more = {k: v for k, v in where.items() if k in known}
    assert differ(plain(name, tuple(more.items())), toy.searched(name, **{**more, key: value})[0]), (
        f"{key}={value!r} does nothing"
    )
