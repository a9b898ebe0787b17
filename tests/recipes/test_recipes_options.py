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
from mimar.testing import recipe as kit


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toy = load("toy")
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
}
VALUES: dict[tuple[str, str], Any] = {}


def pairs() -> Iterator[tuple[str, str]]:
    for name in toy.names():
        for key in inspect.signature(recipes.load(name)[1]).parameters:
            if key not in ELSEWHERE:
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
