"""What a search of several fidelities finds is trained fully, once, and its labels are those of nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from mimar import recipes
from mimar.core.errors import NonFiniteError
from mimar.core.events import Record
from mimar.evaluators import Retrain
from mimar.search import Trials, finish
from mimar.testing import check_recipe
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import tiny_task

SHORT = Trials(scheduler="successive-halving:first=9")  # three queries stay on the lowest rung


def search(name: str = "random", **more: Any) -> Any:
    given: dict[str, Any] = {"task": tiny_task(), "net": tiny_model().float(), "queries": 3, "trials": SHORT}
    return recipes.load(name)[1](**{**given, **more}, retrain=Retrain(epochs=9, batch=16))


def records(built: Any) -> list[dict[str, Any]]:
    state = built.start()
    return [e.data for e in built.events(state) if isinstance(e, Record)]


def test_the_winner_is_trained_fully_where_the_search_ended_before() -> None:
    found = records(search(baseline=2))
    trained = [r for r in found if r["event"] == "trained"]
    assert [t["network"] for t in trained] == ["random-0", "random-1", "random-2", "derived", "random-3", "random-4"]
    result = found[-1]["result"]
    assert result["metrics"] == trained[3]["metrics"] and result["architecture"] == trained[3]["architecture"]
    assert result["budget"]["retrain"] == trained[3]["budget"] == 9 * trained[3]["metrics"]["macs"] * 3 * 52 // 52 * 48
    assert result["budget"]["search"] == sum(t["budget"] for t in trained[:3])
    assert result["baseline"]["random"]["n"] == 2
    assert search("local-search", baseline=1).run().model is not None


def test_a_winner_of_the_last_rung_is_left_as_it_is() -> None:
    found = records(search(queries=40, trials=Trials(scheduler="successive-halving:first=9"), baseline=1))
    assert not [r for r in found if r.get("network") == "derived"] and found[-1]["result"]["budget"]["retrain"] == 0.0


def test_it_resumes_bit_for_bit() -> None:
    check_recipe("random", options={"queries": 3, "trials": SHORT, "retrain": Retrain(epochs=9, batch=16)}, stops=6)


def test_one_that_fails_when_it_is_trained_longer_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    train = finish.train

    def broken(of: Any, lab: Any, state: Any, label: str, *rest: Any, **more: Any) -> Any:
        if label == "derived":
            raise NonFiniteError("the training loss became nan")
        return train(of, lab, state, label, *rest, **more)

    monkeypatch.setattr(finish, "train", broken)
    found = records(search(baseline=1))
    assert [r["text"] for r in found if r["event"] == "warned"] == ["derived failed: the training loss became nan"]
    assert finish.plain(found[-1]["result"]["architecture"]) in [
        r["architecture"] for r in found if r["event"] == "trial"
    ]


def test_random_networks_are_others_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    train = finish.train

    def broken(of: Any, lab: Any, state: Any, label: str, *rest: Any, **more: Any) -> Any:
        if label == "random-1":
            raise NonFiniteError("the training loss became nan")
        return train(of, lab, state, label, *rest, **more)

    monkeypatch.setattr(finish, "train", broken)
    found = records(search(baseline=2, trials=Trials()))
    assert [r["network"] for r in found if r["event"] == "trained"] == ["random-0", "random-2", "random-3", "random-4"]
