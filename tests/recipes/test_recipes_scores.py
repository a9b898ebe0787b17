"""Recipes that search on scores of untrained networks and train what they find: every keyword acts, limits hold."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from mimar import recipes
from mimar.core.events import Record
from mimar.evaluators import Retrain
from mimar.search import Trials
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import check_recipe, tiny_task

SMALL: dict[str, Any] = {"queries": 6, "population": 3, "sample": 2, "seed": 1, "trials": Trials(timeout=1e12)}
OTHER: dict[str, Any] = {"queries": 7, "population": 1, "sample": 1, "seed": 2}
OTHER["trials"] = Trials(evaluator="proxy:synflow")


def asked(**more: Any) -> list[str]:
    """Return what DisWOT measures before anything is trained."""
    given = {"task": tiny_task(), "net": tiny_model().float(), "retrain": Retrain(epochs=1, batch=16), **SMALL, **more}
    search, found = recipes.load("diswot")[1](**given), []
    for event in search.events(search.start()):
        if isinstance(event, Record) and event.data["event"] == "trial":
            found.append(f"{event.data['architecture']} {event.data['values']}")
        if isinstance(event, Record) and event.data["event"] == "derived":
            return found
    raise AssertionError("the search found nothing")


def test_it_stops_and_goes_on() -> None:
    check_recipe("diswot", options={"queries": 3, "population": 2, "sample": 1}, stops=4)


@pytest.mark.parametrize("key", OTHER)
def test_every_keyword_acts(key: str) -> None:
    known = set(inspect.signature(recipes.load("diswot")[1]).parameters)
    assert known == {*OTHER, "net", "task", "device", "baseline", "retrain"}
    assert asked(**{key: OTHER[key]}) != asked()


def test_without_a_limit_the_best_student_is_the_teacher_and_with_one_it_keeps_it() -> None:
    values = [float(line.split("[")[-1].strip("]")) for line in asked(queries=30)]
    assert max(values) == 0.0 and sorted(set(values))[-2] < -0.01
    small = recipes.load("diswot")[1](
        task=tiny_task(),
        net=tiny_model().float(),
        queries=8,
        baseline=0,
        population=3,
        sample=2,
        trials=Trials(limits=("params<=120",)),
        retrain=Retrain(epochs=1, batch=16),
    ).run()
    assert small.metrics["params"] <= 120 and small.data["incumbents"][-1][2][0] < 0.0
