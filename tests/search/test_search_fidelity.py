"""The session with several fidelities: what going on costs, who waits, what is free, and an exact middle."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.evaluators import benchmarks
from mimar.evaluators.table import Table
from mimar.objectives import Best, Potential, Vector
from mimar.recipes import mobster, regularized_evolution
from mimar.recipes import random as random_recipe
from mimar.schedulers import named
from mimar.search import Trials
from mimar.search.session import Session, Terms, best, full
from mimar.space import Architecture, Choice, Proposal, Space, Trial
from mimar.strategies import Evolution, Random

SPACE = Space([Choice("a", tuple("0123456")), Choice("b", tuple("0123456"))])
ROWS = 49
EPOCHS = (1.0, 3.0, 9.0)
FINAL = np.arange(ROWS) * 37 % ROWS / ROWS  # each value once, in no order
CURVES = np.stack([FINAL * 0.2, FINAL * 0.6, FINAL])
SECONDS = np.outer(EPOCHS, 1.0 + np.arange(ROWS))


def table(**more: Any) -> Table:
    given: dict[str, Any] = {"seconds": SECONDS, "fidelities": EPOCHS, "final": {"test_accuracy": FINAL}}
    return Table.from_arrays(SPACE, {"valid_accuracy": CURVES}, **{**given, **more})


def row(i: int) -> Architecture:
    return Architecture({"a": str(i // 7), "b": str(i % 7)})


@dataclass
class Fixed:
    """A searcher that asks what it is given, and remembers what it is told and what was pending."""

    script: Sequence[int]
    told: list[Trial] = field(default_factory=list)
    pending: list[list[float | None]] = field(default_factory=list)
    at: int = 0

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        self.pending.append([p.fidelity for p in pending])
        if self.at >= len(self.script):
            return []
        self.at += 1
        return [Proposal(row(self.script[self.at - 1]))]

    def tell(self, trials: Sequence[Trial]) -> None:
        self.told += trials

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: Any) -> None:
        self.at = state["at"]


def session(script: Sequence[int], scheduler: str, evaluator: Table | None = None, **terms: Any) -> Session:
    evaluator = evaluator or table()
    course = named(scheduler).start(evaluator.fidelities, 0)
    return Session(Terms(evaluator, terms.pop("objective", Best()), **terms), Fixed(script), course)


def all_of(s: Session) -> list[Trial]:
    found = []
    while (trial := s.step()) is not None:
        found.append(trial)
    return found


def test_what_begins_anew_costs_all_and_what_goes_on_the_rest() -> None:
    """Row 2 costs 3 seconds an epoch: 3, 9 and 27 from scratch; 3, 6 and 18 of a training that goes on."""
    anew = all_of(session([2], "asha:kind=stop"))
    going = all_of(session([2], "asha:kind=stop", table(resumes=True)))
    for trials in (anew, going):
        assert [(t.proposal.fidelity, t.since) for t in trials] == [(1, None), (3, 1), (9, 3)]
    assert [t.result.cost for t in anew] == [3, 9, 27]
    assert [t.result.cost for t in going] == [3, 6, 18]
    assert [t.ended for t in going] == [3, 9, 27]


def test_promotions_pay_from_where_they_were_left() -> None:
    s = session([0, 1, 2], "successive-halving:rungs=3,first=3", table(resumes=True))
    trials = all_of(s)
    best_of_three = int(FINAL[:3].argmax())
    rate = 1.0 + best_of_three
    assert [t.result.cost for t in trials] == [1, 2, 3, 2 * rate, 6 * rate]
    assert s.ledger.cost == 6 + 8 * rate and s.ledger.queries == 5


def test_a_training_that_goes_on_is_the_same_training() -> None:
    """One of three repetitions is drawn a training; going on stays with it, another proposal draws again."""
    rng = np.random.default_rng(0)
    repeated = rng.random((3, 3, ROWS))
    evaluator = Table.from_arrays(
        SPACE, {"valid_accuracy": repeated}, seconds=SECONDS, fidelities=EPOCHS, resumes=True, single=True
    )
    for seed in range(8):
        s = session([5], "asha:kind=stop", evaluator, seed=seed)
        values = [t.values[0] for t in all_of(s)]
        assert values in repeated[:, :, 5].tolist()
    anew = Table.from_arrays(SPACE, {"valid_accuracy": repeated}, fidelities=EPOCHS, single=True)
    found = [[t.values[0] for t in all_of(session([5], "asha:kind=stop", anew, seed=seed))] for seed in range(8)]
    assert not all(values in repeated[:, :, 5].tolist() for values in found)


def test_a_timeout_is_for_the_rest_and_ends_the_proposal() -> None:
    """Going on costs 3, 6 and then 18, which is above 10: it ends there, without figures, and nothing is promoted."""
    s = session([2, 3], "asha:kind=stop", table(resumes=True), timeout=10.0)
    trials = all_of(s)
    assert [(t.result.status, t.result.cost) for t in trials[:3]] == [("ok", 3), ("ok", 6), ("timeout", 10)]
    assert best(trials).proposal.fidelity == 3  # type: ignore[union-attr]


def test_the_incumbent_is_of_the_highest_fidelity() -> None:
    s = session(range(12), "hyperband", queries=40)
    trials = all_of(s)
    top = [t for t in trials if t.proposal.fidelity == 9]
    assert full(trials) == top and best(trials) == max(top, key=lambda t: t.values)
    assert max(t.values for t in trials if t.proposal.fidelity == 1) < best(trials).values  # type: ignore[union-attr]


def test_pending_ones_are_known_with_their_fidelity() -> None:
    s = session(range(9), "asha", workers=3)
    all_of(s)
    seen = [set(pending) for pending in s.searcher.pending]  # type: ignore[attr-defined]
    assert {1.0} in seen and any(3.0 in pending for pending in seen)
    assert all(None not in pending for pending in seen)


def test_free_duplicates_are_free_at_their_fidelity_alone() -> None:
    """The same three twice: of the second bracket every job is known; nothing is charged, everything is told."""
    s = session([0, 1, 2] * 2, "successive-halving:first=3", free_duplicates=True)
    trials = all_of(s)
    assert len(trials) == 5 and (s.ledger.queries, s.ledger.repeated) == (5, 5)
    told = s.searcher.told  # type: ignore[attr-defined]
    assert len(told) == 10 and [t.repeated for t in told] == [False] * 5 + [True] * 5
    assert [(t.architecture, t.proposal.fidelity, t.since, t.values) for t in told[:5]] == [
        (t.architecture, t.proposal.fidelity, t.since, t.values) for t in told[5:]
    ]
    assert all(t.result.cost == 0 for t in told[5:])


def test_a_duplicate_of_what_is_under_way_is_not_known_yet() -> None:
    """Two workers begin row 3 at once: nobody knows its figures before it has ended."""
    s = session([3, 3, 3], "asynchronous", free_duplicates=True, workers=2)
    trials = all_of(s)
    assert [t.begun for t in trials] == [0, 0] and s.ledger.queries == 2


def test_several_objectives_are_ranked_on_their_rung() -> None:
    evaluator = table(known={"params": np.arange(ROWS)})
    s = session(range(9), "successive-halving:first=9", evaluator, objective=Vector(("valid_accuracy", "params")))
    trials = all_of(s)
    second = {t.architecture for t in trials if t.proposal.fidelity == 3}
    first = {t.architecture: t.values for t in trials if t.proposal.fidelity == 1}
    for architecture in second:  # no one of those that went on is dominated by one that did not
        mine = first[architecture]
        others = [v for a, v in first.items() if a not in second]
        assert not any(v[0] >= mine[0] and v[1] >= mine[1] and v != mine for v in others)


@pytest.mark.parametrize("scheduler", ["asha", "asha:kind=stop", "hyperband", "successive-halving"])
def test_workers_are_never_idle(scheduler: str) -> None:
    evaluator = table()
    course = named(scheduler).start(evaluator.fidelities, 0)
    s = Session(Terms(evaluator, Best(), workers=4, cost=2000.0), Random().start(SPACE, 0), course)
    trials = all_of(s)
    assert s.utilisation == pytest.approx(1.0) and len(trials) > 50
    assert s.ledger.cost == pytest.approx(4 * 2000.0)
    rounds = Session(
        Terms(evaluator, Best(), workers=4, cost=2000.0),
        Random().start(SPACE, 0),
        named("synchronous:batch=4").start(evaluator.fidelities, 0),
    )
    all_of(rounds)
    assert rounds.utilisation < 0.9  # who waits for the slowest is idle


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("scheduler", ["asha", "asha:kind=stop", "hyperband", "successive-halving", "median-stopping"])
@pytest.mark.parametrize("at", [0, 1, 30, 59])
def test_a_session_goes_on_from_its_json(scheduler: str, workers: int, at: int) -> None:
    def fresh() -> Session:
        evaluator = table(resumes=True)
        terms = Terms(evaluator, Best(), workers=workers, queries=60, free_duplicates=at % 2 == 1)
        course = named(scheduler).start(evaluator.fidelities, 0)
        return Session(terms, Evolution(5, 2).start(SPACE, 1), course)

    s, again = fresh(), fresh()
    for _ in range(at):
        s.step()
    again.load_state_dict(json.loads(json.dumps(s.state_dict())))
    rest = [t.to_json() for t in all_of(s)]
    assert [t.to_json() for t in all_of(again)] == rest
    assert json.dumps(again.state_dict()) == json.dumps(s.state_dict())


def test_the_log_of_real_workers_replays_to_the_same_state() -> None:
    """Launched and ended in an order of the machine: telling the same again leads to the same state and the same asks."""

    def fresh() -> Session:
        evaluator = table()
        course = named("asha").start(evaluator.fidelities, 0)
        return Session(Terms(evaluator, Best(), workers=3, queries=40), Evolution(5, 2).start(SPACE, 1), course)

    s, log, under_way = fresh(), [], []
    order = np.random.default_rng(3)
    while True:
        while (job := s.begin()) is not None:
            under_way.append((s.launch(job), job))
            log.append(("begun", under_way[-1][0], None))
        if not under_way:
            break
        number, job = under_way.pop(int(order.integers(len(under_way))))
        result = s.terms.evaluator.evaluate(job.proposal, job.fidelity)
        log.append(("ended", number, s.ended(number, result).result))
    again, clock = fresh(), 0.0
    for kind, number, found in log:
        if kind == "begun":
            job = again.begin()
            assert job is not None and again.launch(job) == number
        else:
            assert found is not None
            trial = again.ended(number, found)
            assert trial.ended >= clock and trial.ended >= trial.begun + trial.result.cost
            clock = trial.ended
        middle = json.loads(json.dumps(again.state_dict()))
        again = fresh()
        again.load_state_dict(middle)
    assert json.dumps(again.state_dict()) == json.dumps(s.state_dict())
    assert len(again.trials) == 40


def test_a_recipe_on_a_table_says_how_busy_its_workers_were() -> None:
    protocol = Trials(scheduler="asha", workers=4)
    found = regularized_evolution.recipe(task=table(), seconds=400.0, population=5, sample=2, trials=protocol).run()
    assert found.data["workers"] == {"count": 4, "utilisation": pytest.approx(1.0)}
    assert found.data["ledger"]["cost"] == pytest.approx(1600.0)
    alone = regularized_evolution.recipe(task=table(), seconds=400.0, trials=Trials(scheduler="asha")).run()
    assert "workers" not in alone.data


def test_random_search_beside_a_search_of_several_fidelities_measures_fully() -> None:
    found = regularized_evolution.recipe(task=table(), queries=30, trials=Trials(scheduler="hyperband")).run()
    assert found.baseline["random"]["n"] == 30
    own = random_recipe.recipe(task=table(), queries=36, trials=Trials(scheduler="successive-halving")).run()
    assert own.baseline["random"]["n"] == 2  # brackets of 9, 3 and 1: two whole ones are in 36 queries


def test_one_fidelity_is_refused_in_a_sentence() -> None:
    flat = Table.from_arrays(SPACE, {"valid_accuracy": FINAL})
    with pytest.raises(UsageError, match="hyperband needs two or more fidelities and the evaluator offers none"):
        random_recipe.recipe(task=flat, trials=Trials(scheduler="hyperband")).run()


def test_how_an_individual_improves_is_seen_at_one_fidelity() -> None:
    """Going on is no improvement: the slope of every first measurement at a fidelity is 0."""
    s = session([2, 3], "asha:kind=stop", objective=Potential())
    assert all(t.values[1] == 0.0 for t in all_of(s))


# --- behaviour on NAS-Bench-201: cifar10, 12 and 200 epochs, the seconds of its trainings ------------------------------

BUDGET = 18_280.0  # seconds, ten full trainings
Needs = Callable[[str], Path]


def found_by(name: str, scheduler: str, runs: int = 100, **terms: Any) -> list[float]:
    """Return the test accuracy (%) of what random search finds under a scheduler, by run."""
    evaluator = benchmarks.named(name)
    tests = []
    for seed in range(runs):
        course = named(scheduler).start(evaluator.fidelities, seed)
        s = Session(Terms(evaluator, Best(), seed=seed, **terms), Random().start(evaluator.space, seed), course)
        winner = best(all_of(s))
        assert winner is not None
        tests.append(100 * evaluator.verdict(winner.architecture)["test_accuracy"])
    return tests


def test_the_rungs_of_a_real_table_agree_so_much(needs_data: Needs) -> None:
    """Kendall's τ of the validation after 12 epochs and the test after 200: 0.59, among the best tenth 0.35."""
    from scipy import stats

    needs_data("nas/nasbench201.npz")
    evaluator = benchmarks.named("nasbench201")
    early, late = (evaluator.lookup(range(len(evaluator)), "valid_accuracy", epochs) for epochs in (12.0, 200.0))
    test = evaluator.lookup(range(len(evaluator)), "test_accuracy")
    top = np.argsort(-test)[: len(test) // 10]
    assert stats.kendalltau(early, test).statistic == pytest.approx(0.59, abs=0.01)
    assert stats.kendalltau(early[top], test[top]).statistic == pytest.approx(0.35, abs=0.01)
    assert stats.kendalltau(early, late).statistic == pytest.approx(0.65, abs=0.01)
    assert stats.spearmanr(early, late).statistic == pytest.approx(0.82, abs=0.01)


def test_several_fidelities_beat_full_trainings_by_half_a_point(needs_data: Needs) -> None:
    """Published of 300 runs: full 93.06 ± 0.56; of 80 the best 4, 93.71 ± 0.36; of 120 the best 2, 93.80 ± 0.32."""
    needs_data("nas/nasbench201.npz")
    full_ones = found_by("nasbench201:epochs=200", "asynchronous", queries=10)
    timed = found_by("nasbench201:epochs=200", "asynchronous", cost=BUDGET)
    halved = found_by("nasbench201", "successive-halving:first=80,eta=20", cost=BUDGET)
    sharper = found_by("nasbench201", "successive-halving:first=120,eta=60", cost=BUDGET)
    for tests, mean, spread in ((full_ones, 93.06, 0.56), (halved, 93.71, 0.36), (sharper, 93.80, 0.32)):
        assert abs(np.mean(tests) - mean) <= 3 * spread * np.sqrt(1 / len(tests) + 1 / 300)
    for tests in (halved, sharper):
        assert np.mean(tests) - max(np.mean(full_ones), np.mean(timed)) >= 0.5


@pytest.mark.slow
def test_a_model_of_all_fidelities_is_above_random_proposals_with_four_workers(needs_data: Needs) -> None:
    """The mean test accuracy of the incumbents at quarters of 6,000 s: above at three of four or more; nobody idles."""
    needs_data("nas/nasbench201.npz")
    evaluator, quarters = benchmarks.named("nasbench201"), [1500.0 * k for k in (1, 2, 3, 4)]

    def curve(recipe: Any, runs: int) -> Any:
        rows = []
        for seed in range(runs):
            search = recipe(task="nasbench201", seconds=6000.0, seed=seed, trials=Trials(scheduler="asha", workers=4))
            s = search.session()
            trials = all_of(s)
            assert s.utilisation >= 0.95 and {t.proposal.fidelity for t in trials} == {12.0, 200.0}
            tops = [best([t for t in trials if t.ended <= quarter]) for quarter in quarters]
            rows.append([evaluator.verdict(t.architecture)["test_accuracy"] for t in tops if t is not None])
        return np.mean(rows, axis=0)

    assert (curve(mobster.recipe, 6) > curve(random_recipe.recipe, 100)).sum() >= 3
