"""Every recipe through its kit, and the kit against recipes with one error each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import mimar.recipes
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.search import Bilevel, Trials
from mimar.testing import check_recipe

RECIPES = sorted(p.stem for p in Path(mimar.recipes.__file__).parent.glob("*.py") if p.stem != "__init__")
SOURCE = (Path(mimar.recipes.__file__).parent / "darts_1st.py").read_text(encoding="utf-8")


# What some need beside the kit's tiny options: nets whose edges can be cut or that can grow, an epoch for each of three stages, two rungs and
# one worker.
NEEDS: dict[str, dict[str, Any]] = {
    "pc_darts": {"net": "nasbench201:cells=1,channels=4"},
    "bnas": {"net": "nasbench201:cells=1,channels=4"},
    "dass": {"options": {"epochs": 3}},
    "bohb": {"options": {"retrain": Retrain(epochs=3, batch=16)}},
    "eas": {"net": "convnet:channels=2,widths=2"},
    "mobster": {"options": {"retrain": Retrain(epochs=3, batch=16), "trials": Trials(scheduler="asha")}},
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_obey_the_kit(name: str) -> None:
    check_recipe(name.replace("_", "-"), stops=4, **NEEDS.get(name, {}))


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], ModuleType]:
    """Return a function from the text of a recipe to its module."""

    def load(text: str) -> ModuleType:
        path = tmp_path / "planted.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("planted", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("PAPER = Paper(", "OTHER = Paper(", "no PAPER"),
        ("DIFFERS = (", "OTHER = (", "no DIFFERS"),
        ('TIER = "unit"', 'TIER = "great"', "TIER of planted is 'great'"),
        ("    return Bilevel(", "    seed = seed + 1\n    return Bilevel(", "not one return"),
        ("    *,\n", "", "by position"),
        ("travel=travel", "travel=3.0", "planted.travel changes nothing"),
        ("        seed=seed,\n", "", "planted.seed changes nothing"),
        ("    epochs: Count", "    extra: Count = 1,\n    epochs: Count", "planted.extra changes nothing"),
    ],
)
def test_planted_recipes_are_caught(made: Any, old: str, new: str, said: str) -> None:
    assert old in SOURCE
    with pytest.raises(AssertionError, match=said):
        check_recipe(made(SOURCE.replace(old, new)), stops=1)


def test_a_search_that_keeps_something_outside_its_state_is_caught(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Momentum left out of the state: the uninterrupted run is unchanged, the resumed one is another."""
    original = State.snapshot

    def forgetful(self: State) -> State:
        kept = original(self)
        kept.drop("sgd", "momentum")
        return kept

    monkeypatch.setattr(State, "snapshot", forgetful)
    with pytest.raises(AssertionError, match=r"stopped at step \d+ of \d+ .* and continued"):
        check_recipe("darts-1st")


def test_a_search_that_draws_globally_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Bilevel.start

    def careless(self: Bilevel) -> State:
        torch.rand(1)
        return original(replace(self))

    monkeypatch.setattr(Bilevel, "start", careless)
    with pytest.raises(AssertionError, match="torch's global generator"):
        check_recipe("darts-1st", stops=1)
