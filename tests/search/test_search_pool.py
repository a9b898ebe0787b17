"""Several trainings at once: the same networks as one by one, a death costs one trial, a stopped run goes on, the log replays."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mimar.core.errors import UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.optimisers import Sgd
from mimar.core.state import State
from mimar.evaluators import Retrain, training
from mimar.evaluators.train import Job
from mimar.recipes import random, regularized_evolution
from mimar.search import AskTell, Trials
from mimar.search.lab import Lab
from mimar.search.ledger import Running
from mimar.search.trained import TrainedNets
from mimar.space import Architecture, Measurement, Proposal, Trial

GIVEN: dict[str, Any] = {"net": "nasbench201:cells=1,channels=2", "task": "digits:limit=200", "baseline": 0}
ASYNC = Trials(scheduler="asha:kind=stop", workers=2)


def evolution(**more: Any) -> AskTell:
    given = {
        **GIVEN,
        "queries": 6,
        "population": 3,
        "sample": 2,
        "retrain": Retrain(epochs=3, batch=40),
        "trials": ASYNC,
    }
    return regularized_evolution.recipe(**{**given, **more})


def plain(**more: Any) -> AskTell:
    return random.recipe(**{**GIVEN, "queries": 4, "retrain": Retrain(epochs=1, batch=40), **more})


@pytest.fixture(scope="module")
def run() -> tuple[AskTell, list[dict[str, Any]], State]:
    """Return a search with ASHA and two workers, its records, and its last state."""
    search = evolution()
    state = search.start()
    return search, [e.data for e in search.events(state) if isinstance(e, Record)], state


Run = tuple[AskTell, list[dict[str, Any]], State]


def of(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [r for r in records if r["event"] == kind]


def test_every_query_is_begun_and_told_once_at_its_fidelity(run: Run) -> None:
    _, records, _ = run
    begun, told = of(records, "begun"), of(records, "trial")
    assert sorted(b["number"] for b in begun) == sorted(t["number"] for t in told) == list(range(6))
    assert {(b["number"], b["fidelity"]) for b in begun} == {(t["number"], t["fidelity"]) for t in told}
    assert {t["fidelity"] for t in told} == {1.0, 3.0}
    budgets = {t["fidelity"]: t["cost"] / t["metrics"]["macs"] for t in told}
    assert budgets[3.0] == pytest.approx(3 * budgets[1.0])
    promoted = [t for t in told if t.get("since")]
    assert promoted and all(t["architecture"] in [o["architecture"] for o in told if o is not t] for t in promoted)
    ends = [t["ended"] for t in told]
    assert ends == sorted(ends)


def test_the_result_is_the_best_at_the_highest_fidelity_and_says_how_busy_they_were(run: Run) -> None:
    _, records, state = run
    found = of(records, "finished")[0]["result"]
    top = [t for t in of(records, "trial") if t["fidelity"] == 3.0]
    assert found["metrics"]["valid_accuracy"] == max(t["metrics"]["valid_accuracy"] for t in top)
    assert found["workers"]["count"] == 2 and 0 < found["workers"]["utilisation"] <= 1
    assert found["evaluations"] == 6
    assert state.group("final")


def test_the_log_replays_to_the_same_state(run: Run) -> None:
    search, records, state = run
    session = search._session(search.lab())
    session.prepare()
    for record in records:
        if record["event"] == "begun":
            job = session.begin()
            assert job is not None
            assert session.launch(job) == record["number"] and job.fidelity == record["fidelity"]
        elif record["event"] == "trial":
            session.ended(record["number"], Trial.from_json(record).result)
    session.finish()
    assert json.dumps(session.state_dict(), sort_keys=True) == json.dumps(state.json["session"], sort_keys=True)


def test_the_networks_are_those_that_this_process_trains(run: Run) -> None:
    search, records, state = run
    lab, threads = search.lab(), torch.get_num_threads()
    assert isinstance(lab, Lab)
    winner = of(records, "finished")[0]["result"]["metrics"]
    told = {f"random-{t['number']}": t for t in of(records, "trial")}
    torch.set_num_threads(1)
    try:
        for theirs in of(records, "trained"):
            label, inner = theirs["network"], State()
            part = TrainedNets(lab, search.retrain).part(told[label]["fidelity"])
            arch = Architecture(theirs["architecture"])
            job = Job(label, "baseline", label, lab.final, arch, lab.data, search.seed, search.device)
            *_, last = training(part, job, inner)
            assert isinstance(last, Record) and last.data == theirs
            if theirs["metrics"] == winner:
                net = inner.group("net")
                assert all(torch.equal(t, net[name]) for name, t in state.group("final").items())
    finally:
        torch.set_num_threads(threads)


def until(events: Iterator[Event], told: int) -> list[dict[str, Any]]:
    """Advance until so many trials were told; return the records."""
    records: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, Record):
            records.append(event.data)
        elif sum(r["event"] == "trial" for r in records) >= told and isinstance(event, Step):
            break
    return records


@pytest.mark.slow
def test_a_killed_worker_costs_its_trial_alone() -> None:
    search = plain(queries=6, retrain=Retrain(epochs=40, batch=40), trials=Trials(workers=2))
    state = search.start()
    events = search.events(state)
    records = until(events, 1)
    os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)
    records += [e.data for e in events if isinstance(e, Record)]
    told = of(records, "trial")
    assert [t["status"] for t in told].count("failed") == 1 and len(told) == 6
    assert "killed" in of(records, "warned")[0]["text"]
    assert of(records, "finished")[0]["result"]["ledger"]["failed"] == 1
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_what_a_worker_cannot_train_fails_alone() -> None:
    search = plain(queries=2, retrain=Retrain(epochs=2, batch=40, optimiser=Sgd(lr=1e30)), trials=Trials(workers=2))
    events = search.events(search.start())
    with pytest.raises(Exception, match="none of 2 evaluations gave a figure"):
        list(events)


@pytest.mark.slow
def test_a_stopped_run_begins_anew_what_was_under_way(tmp_path: Path) -> None:
    search = evolution(queries=8)
    state = search.start()
    events: Any = search.events(state)
    first = until(events, 3)
    kept = State(json.loads(json.dumps(state.snapshot().json)), state.snapshot().tensors)
    events.close()
    assert not multiprocessing.active_children()
    under_way = list(kept.json["session"]["running"])
    assert under_way and all(r["status"] is None for r in under_way)
    rest = [e.data for e in search.events(kept) if isinstance(e, Record)]
    told = of(first, "trial") + of(rest, "trial")
    assert sorted(t["number"] for t in told) == list(range(8))
    assert {r["number"] for r in under_way} <= {t["number"] for t in of(rest, "trial")}
    assert kept.json["phase"] == "done"


@pytest.mark.slow
def test_an_interrupt_saves_and_resume_finishes(tmp_path: Path) -> None:
    search = evolution(queries=8)
    seen: list[Event] = []

    def interrupt(event: Event) -> None:
        seen.append(event)
        if sum(isinstance(e, Record) and e.data["event"] == "trial" for e in seen) == 2 and isinstance(event, Record):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        search.run(tmp_path / "run", progress=interrupt)
    assert not multiprocessing.active_children()
    found = search.run(tmp_path / "run", resume=True)
    assert found.data["evaluations"] == 8
    lines = (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert lines.count('"event":"trial"') + lines.count('"event": "trial"') == 8


def test_what_cannot_be_sent_is_said_at_once() -> None:
    class Local(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            from mimar.testing.problems import tiny_model

            self.inner = tiny_model().float()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    from mimar.testing.recipe import tiny_task

    search = plain(net=Local(), task=tiny_task(), trials=Trials(workers=2), retrain=Retrain(epochs=1, batch=16))
    with pytest.raises(UsageError, match="trials.workers=2 sends net and task to other processes"):
        search.run()


def test_seconds_are_for_other_searches() -> None:
    with pytest.raises(UsageError, match="seconds is for benchmark tables"):
        plain(seconds=5.0).start()


def test_a_job_under_way_is_json_with_and_without_its_result() -> None:
    from mimar.schedulers import Job as Queued
    from mimar.search.ledger import packed, unpacked

    job = Queued(Proposal(Architecture({"a": "1"}), None, "abc"), 3.0, 1.0, 7)
    known = Running(5.0, 2, job, 1.0, Measurement({"m": 0.5}, 4.0), True)
    unknown = known._replace(ended=float("inf"), result=None)
    for one in (known, unknown):
        assert unpacked(json.loads(json.dumps(packed(one), allow_nan=False))) == one
