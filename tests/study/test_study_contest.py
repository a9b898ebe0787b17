"""Contests on a table: what is kept, what the figures say, what the page shows, and how they go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimar.cli import comparing
from mimar.core.errors import RunError, UsageError
from mimar.evaluators.table import Table
from mimar.runs.lock import Lock
from mimar.search import Trials
from mimar.space import Choice, Space
from mimar.study import contest_figures, contest_page
from mimar.study.contest import Arm, Contest, ground, one, run

SPACE = Space([Choice(n, ("0", "1", "2", "3")) for n in "abc"])
N = 64


def table(**more: Any) -> Table:
    codes = np.indices((4,) * 3).reshape(3, -1).T
    value = codes.sum(1) / 10 + 0.01 * codes[:, 0]
    given: dict[str, Any] = {
        "final": {"test_accuracy": value - 0.05 * (codes[:, 2] == 3)},
        "seconds": 1.0 + codes[:, 1],
    }
    return Table.from_arrays(
        SPACE, {"valid_accuracy": value}, codes=codes, known={"params": codes[:, 0]}, **given | more
    )


def contest(runs: int = 10, task: Any = None, **options: Any) -> Contest:
    names = ("random", "local-search", "regularized-evolution")
    arms = tuple(Arm(n, n, {"queries": 30, **options}) for n in names)
    return Contest(arms, task or table(), runs)


def silent(text: str) -> None:
    pass


def measured(tmp_path: Path, given: Contest) -> dict[str, Any]:
    return contest_figures.figures(given, run(given, tmp_path, tell=silent))


def test_figures_are_those_of_the_runs(tmp_path: Path) -> None:
    given = contest()
    runs = run(given, tmp_path, tell=silent)
    found = contest_figures.figures(given, runs)
    assert found["best"] == {"quality": pytest.approx(0.93), "verdict": pytest.approx(0.88), "rows": 64}
    for arm in found["arms"]:
        ends = [r["trace"][-1][3] for r in runs[arm["name"]]]
        assert arm["verdict"]["mean"] == pytest.approx(np.mean(ends))
        assert arm["regret"]["mean"] == pytest.approx(0.88 - np.mean(ends))
        tops = [r["trace"][-1][2] for r in runs[arm["name"]]]
        assert arm["optimum"] == np.mean(np.isclose(tops, 0.93)) and arm["queries"]["mean"] == 30
        curve = arm["curves"]["queries"]
        seen = [v for v in curve["mean"] if v is not None]
        assert curve["at"][-1] == 30 and seen[-1] == pytest.approx(arm["regret"]["mean"], abs=1e-7)
    local = found["arms"][1]
    assert local["optimum"] == 1.0 and local["versus"]["verdict"] == "better"
    assert [f["name"] for f in found["free"]] == ["most params"]
    mean = np.mean([v for v in table().lookup(range(48, 64), "test_accuracy")])
    assert found["free"][0]["verdict"] == pytest.approx(mean) and found["free"][0]["rows"] == 16


def test_the_same_call_goes_on_and_more_seeds_add_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(contest(8), tmp_path, tell=silent)
    whole = run(contest(10), tmp_path / "other", tell=silent)
    asked: list[Any] = []
    real = Arm.search
    monkeypatch.setattr(Arm, "search", lambda self, task, seed: asked.append(seed) or real(self, task, seed))
    more = run(contest(10), tmp_path, tell=silent)

    def bare(runs: Any) -> Any:
        return {n: [{k: v for k, v in r.items() if k != "own_seconds"} for r in kept] for n, kept in runs.items()}

    assert set(asked) == {0, 8, 9}  # 0: what an arm is called and whether it can run
    assert bare(more) == bare(whole)
    assert {n: kept[:8] for n, kept in more.items()} == first


def test_damaged_lines_are_measured_again(tmp_path: Path) -> None:
    whole = run(contest(), tmp_path, tell=silent)
    path = min((tmp_path / "arms").iterdir())
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0][:-5], b"\xff\xfe", b"[1, 2]", *lines[2:]]))
    again = run(contest(), tmp_path, tell=silent)
    for name, kept in whole.items():
        assert [r["trace"] for r in again[name]] == [r["trace"] for r in kept]


def test_runs_belong_to_the_contents_of_a_table_that_an_option_names(tmp_path: Path) -> None:
    """RoBoT reads scores from a file: other scores in it are another search."""
    codes = np.indices((4,) * 3).reshape(3, -1).T
    scores = tmp_path / "scores.npz"
    ends = {}
    for name, sign in (("good", 1.0), ("bad", -1.0)):
        Table.from_arrays(SPACE, {"score": sign * codes.sum(1)}, codes=codes).save(scores)
        arms = (Arm("robot", "robot", {"queries": 2, "scores": f"table:{scores}"}),)
        ends[name] = run(Contest(arms, table(), 4), tmp_path / "out", tell=silent)["robot"]
        assert run(Contest(arms, table(), 4), tmp_path / "out", tell=silent)["robot"] == ends[name]
    assert len(list((tmp_path / "out" / "arms").iterdir())) == 2


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    held = Lock(tmp_path)
    try:
        with pytest.raises(RunError):
            run(contest(), tmp_path, tell=silent)
    finally:
        held.release()


def test_several_objectives_are_judged_by_hypervolume(tmp_path: Path) -> None:
    given = contest(trials=Trials(objective=("valid_accuracy", "params")))
    found = measured(tmp_path, given)
    assert found["measure"]["name"] == "hypervolume"
    there = ground(given.arms[0].search(given.task, 0).session())
    assert there.reference == (0.0, -3.0) and there.quality == there.verdict
    assert all(0 <= a["regret"]["mean"] <= there.quality for a in found["arms"])
    assert contest_page.html(found).count("<svg") >= 4


def test_limits_bound_what_there_is_to_find(tmp_path: Path) -> None:
    found = measured(tmp_path, contest(trials=Trials(limits=("params<=1",))))
    assert found["best"]["rows"] == 32 and found["best"]["quality"] == pytest.approx(0.71)
    assert found["free"][0]["rows"] == 16
    with pytest.raises(UsageError, match="no row of table keeps the limits params<=-1"):
        ground(contest(trials=Trials(limits=("params<=-1",))).arms[0].search(table(), 0).session())


def test_a_table_to_be_minimised_without_a_verdict(tmp_path: Path) -> None:
    loss = np.linspace(1.0, 0.1, N)
    codes = np.indices((4,) * 3).reshape(3, -1).T
    task = Table.from_arrays(SPACE, {"valid_mse": loss}, codes=codes, minimise=["valid_mse"])
    found = measured(tmp_path, contest(task=task))
    assert found["measure"] == {"name": "valid_mse", "direction": "min", "form": "number"}
    assert found["best"]["verdict"] == pytest.approx(-0.1) and found["unit"] == "queries"
    assert all(a["regret"]["mean"] >= 0 for a in found["arms"])
    assert "0.1" in contest_page.told(found)


def test_the_words_say_who_did_not_beat_random(tmp_path: Path) -> None:
    found = measured(tmp_path, contest())
    text = contest_page.told(found)
    lines = text.splitlines()
    assert lines[0] == "table: 30 queries a search, 10 runs each; the best there is: 88.00 (%)"
    assert lines[1].split()[:3] == ["strategy", "test", "accuracy"] and lines[2].split()[0] == "random"
    losers = [a["name"] for a in found["arms"] if a["versus"] and a["versus"]["verdict"] != "better"]
    assert ("not shown to beat random search" in text) == bool(losers)
    few = measured(tmp_path / "few", contest(3))
    assert all(a["versus"] is None for a in few["arms"]) and "fewer than 8 runs" in contest_page.told(few)


def test_arms_that_train_weights_or_come_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="idarts trains weights and a benchmark table has none to train"):
        run(Contest((Arm("idarts", "idarts"),), table(), 3), tmp_path, tell=silent)
    with pytest.raises(UsageError, match="'random' is given twice"):
        Contest((Arm("random", "random"),) * 2, table())
    with pytest.raises(UsageError, match="digits is not a benchmark table"):
        Contest((Arm("random", "random"),), "digits")


def test_words_become_arms(tmp_path: Path) -> None:
    table().save(tmp_path / "mine.npz")
    task = f"table:{tmp_path / 'mine.npz'}"
    words = [
        "regularized-evolution",
        "regularized_evolution@small",
        "queries=20",
        "regularized-evolution@small:population=5",
    ]
    words.append("regularized-evolution@small:sample=2")
    found = comparing.contest(words, task=task, net=None, seeds=4, device="cpu")
    assert [a.name for a in found.arms] == [
        "random",
        "local-search",
        "regularized-evolution",
        "regularized-evolution@small",
    ]
    assert found.arms[3].options == {"queries": 20, "population": 5, "sample": 2} and found.arms[0].options == {
        "queries": 20
    }
    for wrong, text in (
        (["random", "local-search:starts=2", "regularised:population=3"], "unknown recipe 'regularised'"),
        (["random", "regularized-evolution:population=3"], "not compared"),
        (["random", "populatio=3"], "unknown option"),
        (["queries=3"], "at least one recipe"),
    ):
        with pytest.raises(UsageError, match=text):
            comparing.contest(wrong, task=task, net=None, seeds=4, device="cpu")
    with pytest.raises(UsageError, match="leave out --net"):
        comparing.contest(["random"], task=task, net="darts", seeds=4, device="cpu")


def test_the_command_prints_writes_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table().save(tmp_path / "mine.npz")
    flags = {"task": f"table:{tmp_path / 'mine.npz'}", "net": None, "seeds": 8, "device": "cpu"}
    comparing.run(["random", "queries=20"], tmp_path / "out", workers=1, json=True, **flags)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [a["name"] for a in found["arms"]] == ["random", "local-search"] and found["out"] == str(tmp_path / "out")
    assert (tmp_path / "out" / "compare.html").read_text().startswith("<!DOCTYPE html>")
    comparing.run(["random", "queries=20"], tmp_path / "out", workers=1, json=False, **flags)
    assert capsys.readouterr().out.splitlines()[-1] == f"page: {tmp_path / 'out' / 'compare.html'}"


def test_phases_and_the_chance_to_beat_a_random_row(tmp_path: Path) -> None:
    found = measured(tmp_path, contest())
    assert set(found["phases"]) == {"all", "best 10 %", "best 1 %"} and 0.8 < found["phases"]["all"] <= 1.0
    random, local = found["arms"][:2]
    assert 0.9 < random["surpasses"] <= local["surpasses"] < 1.0  # the best of 30 of 64 rows
    single = measured(tmp_path / "one", contest(200, queries=1))
    assert single["arms"][0]["surpasses"] == pytest.approx(0.5, abs=0.07)


def test_incumbents_of_several_fidelities_are_shown_at_the_table_s_own(tmp_path: Path) -> None:
    full = np.indices((4,) * 3).reshape(3, -1).sum(0) / 10
    codes = np.indices((4,) * 3).reshape(3, -1).T
    columns = {"valid_accuracy": np.stack([full - 0.3, full])}  # of fewer epochs lower, and the rows alike
    two = Table.from_arrays(SPACE, columns, codes=codes, fidelities=(1, 9), default=1.0, seconds=np.ones((2, N)))
    arms = (
        Arm("random", "random", {"queries": 20}),
        Arm("halving", "random", {"queries": 20, "trials": Trials(scheduler="asha")}),
    )
    given = Contest(arms, two, 5)
    runs = run(given, tmp_path, tell=silent)
    best = contest_figures.figures(given, runs)["best"]["quality"]
    assert best == pytest.approx(0.6)
    for trace in (r["trace"] for arm in runs.values() for r in arm):
        assert all(quality <= best + 1e-12 for _, _, quality, _ in trace)


def test_a_hundred_searches_of_the_real_table_take_a_second_or_two(needs_data: Callable[[str], Path]) -> None:
    """500 in 5 s are the goal, which benchmarks/tables.py measures; twice that is allowed for neighbours on the core."""
    needs_data("nas/nasbench201.npz")
    arm = Arm("regularized-evolution", "regularized-evolution", {"seconds": 12_000.0})
    one(arm.search("nasbench201", 0), 0)
    begun = time.process_time()
    ends = [one(arm.search("nasbench201", seed), seed)["trace"][-1][3] for seed in range(100)]
    assert time.process_time() - begun < 2.0
    assert 0.9395 < np.mean(ends) < 0.9430
