"""Every recipe that asks and tells, on a table made up for it: no two alike, every keyword acts, each resumes, and trains."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mimar import recipes
from mimar.core import ranges
from mimar.core.errors import MimarError
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import Trials
from mimar.space import nasbench201
from mimar.testing import recipe as kit


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toy = load("toy")
QUERIES = 60
ELSEWHERE = {"net", "task", "device", "baseline", "retrain"}  # tests/search says what they do
SHARED = {"queries": 40, "seconds": 500.0, "seed": 5}

# What has to be so for a keyword to act on the toy, and the value it is changed to where the one at hand says little.
WHERE: dict[tuple[str, str], dict[str, Any]] = {
    ("tabnas", "correction"): {"trials": Trials(limits=("params<=20000",))},
    ("tabnas", "samples"): {"trials": Trials(limits=("params<=20000",))},
    ("cmab-nas", "decay"): {"exploration": 0.3},
    ("mnasnet", "cost"): {"target": 1e5},  # the costs of the toy are proportional
}
VALUES: dict[tuple[str, str], Any] = {
    ("enas-memory", "size"): 5,
    ("robot", "candidates"): 100,
    ("robot", "scores"): toy.MadeUp(1),
    ("robot", "steps"): 2,
    ("mnasnet", "cost"): "params",
    ("lanas", "height"): 2,
    ("eeea-net", "mutation"): 0.9,
    ("bohb", "top"): 0.5,
    ("bohb", "points"): 12,
    ("mobster", "most"): 10,
    ("mobster", "enough"): 1,
    ("nas-bowl", "depth"): 0,
    ("gbdt-nas", "leaves"): 2,
    ("gbdt-nas-3s", "leaves"): 2,
}
# What it takes to train: epochs for more than one rung, and one worker.
TRAINED: dict[str, dict[str, Any]] = {
    "bohb": {"retrain": Retrain(epochs=3, batch=16)},
    "mobster": {"retrain": Retrain(epochs=3, batch=16), "trials": Trials(scheduler="asha")},
}
# Pairs that are equal on the toy, with the reason.
EQUAL: dict[frozenset[str], str] = {}


@functools.cache
def table() -> Table:
    """Return the cells of NAS-Bench-201 with figures made up: a weight an option, edges that help each other, two fidelities."""
    codes = np.indices((5,) * 6).reshape(6, -1).T
    rng = np.random.default_rng(0)
    worth = np.array([0.0, 0.3, 0.6, 1.0, 0.4])[codes]  # (R, 6)
    good = worth.mean(1) + 0.5 * worth[:, 0] * worth[:, 5] + 0.05 * rng.standard_normal(len(codes))
    accuracy = 0.5 + 0.4 * (good - good.min()) / np.ptp(good)
    early = accuracy - 0.1 + 0.02 * rng.standard_normal(len(codes))
    params = 1000.0 * (1 + np.array([0, 0, 1, 9, 0])[codes].sum(1))
    return Table.from_arrays(
        nasbench201(),
        {"valid_accuracy": np.stack([early, accuracy])},
        codes=codes,
        final={"test_accuracy": accuracy - 0.01},
        known={"params": params, "macs": 7.0 * params},
        seconds=np.stack([0.1 + params * 1e-4, 1.0 + params * 1e-3]),
        fidelities=(12, 200),
        name="toy",
    )


def options(name: str, **more: Any) -> dict[str, Any]:
    known = inspect.signature(recipes.load(name)[1]).parameters
    given = {"task": table(), "queries": QUERIES, "baseline": 0, **toy.ASKED.get(name, {}), **more}
    return {key: value for key, value in given.items() if key in known}


def asked(name: str, **more: Any) -> list[str]:
    """Return what a recipe measures, in order, with the fidelities and the clock."""
    session = recipes.load(name)[1](**options(name, **more)).session()
    found = []
    while (trial := session.step()) is not None:
        cell = trial.architecture.to_nasbench201()
        found.append(f"{cell} {trial.proposal.fidelity} {trial.begun:.6f} {trial.values}")
    return found


@functools.cache
def plain(name: str, more: tuple[tuple[str, Any], ...] = ()) -> tuple[str, ...]:
    return tuple(asked(name, **dict(more)))


@pytest.mark.parametrize("name", toy.blackbox())
def test_it_measures_as_many_as_it_was_asked_for(name: str) -> None:
    assert len(plain(name)) == QUERIES
    assert len(set(plain(name))) > 3


def test_no_two_ask_alike() -> None:
    seen: dict[tuple[str, ...], list[str]] = {}
    for name in toy.blackbox():
        seen.setdefault(plain(name), []).append(name)
    same = {frozenset(names) for names in seen.values() if len(names) > 1}
    assert same == set(EQUAL)


def pairs() -> Iterator[tuple[str, str]]:
    for name in toy.blackbox():
        for key in inspect.signature(recipes.load(name)[1]).parameters:
            if key not in ELSEWHERE:
                yield name, key


def other(name: str, key: str, now: Any) -> Any:
    """Return another permitted value of a keyword."""
    if key in SHARED:
        return SHARED[key]
    build = recipes.load(name)[1]
    if isinstance(now, Trials):
        return dataclasses.replace(now, workers=now.workers + 2)
    hint = ranges.hints(build).get(key)
    for value in kit._others(key, now, hint):
        if value == now or not (hint is None or ranges.fits(value, hint)):
            continue
        try:
            build(**options(name, **{key: value})).session()
        except MimarError:
            continue
        return value
    raise AssertionError(f"no other value for {name}.{key}")


@pytest.mark.parametrize(("name", "key"), list(pairs()))
def test_every_keyword_acts(name: str, key: str) -> None:
    where = WHERE.get((name, key), {"queries": None} if key == "seconds" else {})
    default = inspect.signature(recipes.load(name)[1]).parameters[key].default
    now = options(name, **where).get(key, default)
    value = VALUES[name, key] if (name, key) in VALUES else other(name, key, now)
    assert plain(name, tuple(where.items())) != tuple(asked(name, **{**where, key: value})), (
        f"{key}={value!r} does nothing"
    )


@pytest.mark.parametrize("name", toy.blackbox())
def test_a_session_goes_on_from_its_json(name: str) -> None:
    search = recipes.load(name)[1](**options(name))
    session = search.session()
    for _ in range(23):
        session.step()
    state = json.loads(json.dumps(session.state_dict()))
    again = search.session()
    again.load_state_dict(state)
    for _ in range(20):
        ours, theirs = session.step(), again.step()
        assert (ours and ours.to_json()) == (theirs and theirs.to_json())
    assert json.loads(json.dumps(session.state_dict())) == json.loads(json.dumps(again.state_dict()))


@pytest.mark.parametrize(
    "trials",
    [
        Trials(objective=("valid_accuracy", "params")),
        Trials(limits=("params<=20000",)),
        Trials(workers=4),
        Trials(scheduler="synchronous:batch=3", workers=3),
        Trials(duplicates="free"),
        Trials(timeout=8.0),
    ],
    ids=["pareto", "limited", "workers", "rounds", "free duplicates", "timeout"],
)
@pytest.mark.parametrize("name", toy.blackbox())
def test_it_works_under_every_protocol(name: str, trials: Trials) -> None:
    search = recipes.load(name)[1](**options(name, trials=trials, queries=20))
    session = search.session()
    while session.step() is not None:
        pass
    assert session.ledger.queries == 20
    costs = table().costs
    if trials.limits:
        assert all(costs(t.architecture)["params"] <= 20000 for t in session.trials)
    if trials.timeout:
        assert all(t.result.cost <= 8.0 for t in session.trials)
    assert json.loads(json.dumps(session.state_dict()))["ledger"]["queries"] == 20


@pytest.mark.parametrize("name", toy.blackbox())
def test_it_trains_networks_too(name: str) -> None:
    given = options(
        name, task=kit.tiny_task(), net=kit.tiny_model().float(), queries=2, retrain=Retrain(epochs=1, batch=16)
    )
    given = {**given, "trials": Trials()} if "trials" in given else given
    search = recipes.load(name)[1](**{**given, **TRAINED.get(name, {})})
    result = search.run()
    assert result.model is not None and 0 <= result.metrics["test_accuracy"] <= 1
    longer = result.data["budget"]["retrain"] > 0  # of two fidelities the winner may be trained once more
    assert result.data["evaluations"] == 2 + longer and result.data["ledger"]["queries"] == 2
