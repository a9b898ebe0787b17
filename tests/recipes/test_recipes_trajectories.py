"""All recipes beside each other on the toy: no two take the same way, none takes long for a step."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mimar.core.state import State


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toy = load("toy")
SECONDS = 3.0  # of a step, at most

# Pairs that theory makes equal on this toy, with the reason.
EQUAL: dict[frozenset[str], str] = {
    frozenset(
        {"darts-1st", "darts-plus"}
    ): "DARTS+ is DARTS until a criterion holds, and none does within three epochs",
    frozenset({"r-darts-l2", "robust-darts"}): "the last level of R-DARTS decays 27 times as much, which is r-darts-l2",
}


@functools.cache
def ran(name: str) -> tuple[State, float]:
    found: tuple[State, float] = toy.searched(name)
    return found


def trajectory(name: str) -> str:
    """Return the end of a search as text: its alphas, or its weights where it has none."""
    state = ran(name)[0]
    held = next((g for n in ("alphas", "weights", "teacher", "final") if (g := state.group(n))), {})
    return str({n: t.tolist() for n, t in held.items()}) if held else str(state.json.get("asked"))


@pytest.mark.parametrize("name", toy.names())
def test_a_step_takes_less_than_three_seconds(name: str) -> None:
    assert ran(name)[1] < SECONDS


def test_no_two_recipes_take_the_same_way() -> None:
    seen: dict[str, list[str]] = {}
    for name in toy.names():
        seen.setdefault(trajectory(name), []).append(name)
    same = {frozenset(names) for names in seen.values() if len(names) > 1}
    assert same == set(EQUAL)


@pytest.mark.parametrize(
    ("child", "parent"), [("darts-plus", "darts-1st"), ("darts-es", "darts-2nd"), ("darts-ada", "darts-2nd")]
)
def test_stopping_recipes_follow_their_parent_until_their_rule_speaks(child: str, parent: str) -> None:
    asleep = {"darts-plus": {"skips": 99, "stable": 99}, "darts-es": {"first": 99}, "darts-ada": {"first": 99}}
    awake = {"darts-plus": {"skips": 99, "stable": 1}, "darts-es": {}, "darts-ada": {}}
    plain = toy.searched(parent, epochs=4)[0]
    same, other = (toy.searched(child, epochs=4, **more[child])[0] for more in (asleep, awake))
    assert all(torch.equal(same.tensors[f"alphas/{n}"], t) for n, t in plain.group("alphas").items())
    assert any(not torch.equal(other.tensors[f"alphas/{n}"], t) for n, t in plain.group("alphas").items())
