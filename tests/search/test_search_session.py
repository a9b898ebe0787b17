"""The session: two currencies, simulated workers, limits, failures, budgets, and an exact middle."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from mimar.core.errors import RunError
from mimar.evaluators.table import Table
from mimar.objectives import Best, Limit, Vector
from mimar.schedulers import Asynchronous, Synchronous
from mimar.search.session import Session, Terms, best
from mimar.space import Architecture, Choice, Measurement, Proposal, Space, Trial
from mimar.strategies import Evolution, LocalSearch, Random

SPACE = Space([Choice("a", ("0", "1", "2", "3")), Choice("b", ("0", "1", "2", "3"))])
VALUES = [i / 16 for i in range(16)]
SECONDS = [1.0 + i for i in range(16)]


def table(**more: Any) -> Table:
    given: dict[str, Any] = {
        "known": {"params": list(range(16))},
        "final": {"test_accuracy": VALUES},
        "seconds": SECONDS,
    }
    return Table.from_arrays(SPACE, {"valid_accuracy": VALUES}, **{**given, **more})


@dataclass
class Fixed:
    """A searcher that asks what it is given, and remembers what it is told."""

    script: Sequence[int]
    told: list[Trial] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    at: int = 0

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        self.pending.append(len(pending))
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


def row(i: int) -> Architecture:
    return Architecture({"a": str(i // 4), "b": str(i % 4)})


def session(script: Sequence[int], scheduler: Any = None, evaluator: Any = None, **terms: Any) -> Session:
    scheduler = scheduler or Asynchronous()
    given = Terms(evaluator or table(), terms.pop("objective", Best()), **terms)
    return Session(given, Fixed(script), scheduler.start((), 0))


def all_of(s: Session) -> list[Trial]:
    found = []
    while (trial := s.step()) is not None:
        found.append(trial)
    return found


def test_a_serial_search_is_charged_by_the_table() -> None:
    s = session([3, 0, 3])
    trials = all_of(s)
    assert [(t.begun, t.ended, t.values) for t in trials] == [(0, 4, (3 / 16,)), (4, 5, (0.0,)), (5, 9, (3 / 16,))]
    assert (s.ledger.queries, s.ledger.cost, s.ledger.clock, s.ledger.repeated) == (3, 9.0, 9.0, 1)
    assert [t.repeated for t in trials] == [False, False, True]


def test_workers_end_in_the_order_of_their_clocks() -> None:
    s = session([9, 0, 1, 2], workers=2)  # costs 10, 1, 2, 3
    assert [(t.number, t.begun, t.ended) for t in all_of(s)] == [(1, 0, 1), (2, 1, 3), (3, 3, 6), (0, 0, 10)]
    assert s.ledger.cost == 16.0 and s.ledger.clock == 10.0
    assert s.searcher.pending[:4] == [0, 1, 1, 1]  # type: ignore[attr-defined]


def test_rounds_wait_for_the_slowest() -> None:
    s = session([9, 0, 1, 2], Synchronous(2), workers=2)
    assert [(t.number, t.begun, t.ended) for t in all_of(s)] == [(1, 0, 1), (0, 0, 10), (2, 10, 12), (3, 10, 13)]


def test_a_budget_of_queries_and_one_of_seconds() -> None:
    assert len(all_of(session([0] * 9, queries=4))) == 4
    s = session([0, 1, 2, 3], cost=6.5)  # 1 + 2 + 3 = 6; the fourth would end at 10
    assert [t.ended for t in all_of(s)] == [1, 3, 6]
    assert (s.ledger.queries, s.ledger.lost, s.ledger.clock, s.ledger.cost) == (4, 1, 6.5, 6.5)
    assert s.step() is None
    assert len(all_of(session([0, 1, 2], cost=6.0))) == 3  # what ends with the budget counts


def test_limits_are_asked_before_a_query_is_spent() -> None:
    s = session([9, 2, 12, 5], limits=(Limit("params", most=6),))
    assert [t.architecture for t in all_of(s)] == [row(2), row(5)]
    assert (s.ledger.queries, s.ledger.infeasible, s.ledger.cost) == (2, 2, 3.0 + 6.0)
    told = s.searcher.told  # type: ignore[attr-defined]
    assert [t.result.status for t in told] == ["infeasible", "ok", "infeasible", "ok"]
    assert told[0].values == () and told[0].result.cost == 0.0


def test_limits_that_nothing_keeps_end_with_a_sentence() -> None:
    s = Session(
        Terms(table(), Best(), (Limit("params", most=-1),)), Random().start(SPACE, 0), Asynchronous().start((), 0)
    )
    with pytest.raises(RunError, match="1000 proposals in a row break the limits \\(params<=-1\\); loosen them"):
        s.step()


def test_free_duplicates_are_told_and_not_charged() -> None:
    s = session([3, 3, 0, 3], free_duplicates=True)
    assert [t.architecture for t in all_of(s)] == [row(3), row(0)]
    assert (s.ledger.queries, s.ledger.repeated, s.ledger.cost) == (2, 2, 5.0)
    told = s.searcher.told  # type: ignore[attr-defined]
    assert [(t.repeated, t.result.cost, t.values) for t in told] == [
        (False, 4.0, (3 / 16,)),
        (True, 0.0, (3 / 16,)),
        (False, 1.0, (0.0,)),
        (True, 0.0, (3 / 16,)),
    ]


def test_a_strategy_that_only_repeats_for_free_comes_to_an_end() -> None:
    s = Session(Terms(table(), Best(), free_duplicates=True), Random().start(SPACE, 0), Asynchronous().start((), 0))
    assert len({t.architecture for t in all_of(s)}) == 16


def test_a_timeout_costs_its_limit_and_says_nothing() -> None:
    s = session([9, 0], timeout=5.0)
    slow, quick = all_of(s)
    assert (slow.result.status, slow.ended, slow.values, slow.result.metrics) == ("timeout", 5.0, (), {})
    assert quick.result.status == "ok" and s.ledger.failed == 1


@dataclass
class Broken:
    """A table on which some rows fail and one gives NaN."""

    inner: Table

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def evaluate(self, proposal: Proposal, fidelity: float | None = None, rng: Any = None) -> Measurement:
        found = self.inner.evaluate(proposal)
        if proposal.architecture["b"] == "0":
            return Measurement({}, found.cost, "failed")
        return Measurement({"valid_accuracy": math.nan}, found.cost) if proposal.architecture == row(1) else found


@pytest.mark.parametrize("strategy", [Random(), Evolution(4, 2), LocalSearch()])
def test_failures_and_nan_are_told_and_never_win(strategy: Any) -> None:
    terms = Terms(Broken(table()), Best(), queries=60)  # type: ignore[arg-type]
    s = Session(terms, strategy.start(SPACE, 3), Asynchronous().start((), 0))
    trials = all_of(s)
    winner = best(trials)
    assert len(trials) == 60 and winner is not None
    assert winner.architecture["b"] != "0" and winner.architecture != row(1)
    assert s.ledger.failed == sum(t.result.status == "failed" for t in trials) > 0
    json.dumps(s.state_dict(), allow_nan=True)


def test_the_incumbent_is_the_first_of_the_best_at_the_highest_fidelity() -> None:
    def one(number: int, value: float, fidelity: float | None = None) -> Trial:
        return Trial(Proposal(row(number), fidelity), Measurement({}), (value,), number)

    assert best([]) is None and best([Trial(Proposal(row(0)), Measurement({}, status="failed"))]) is None
    assert best([one(0, 0.1), one(1, 0.5), one(2, 0.5)]).number == 1  # type: ignore[union-attr]
    assert best([one(0, 0.9, 1.0), one(1, 0.2, 3.0)]).number == 1  # type: ignore[union-attr]
    assert best([one(0, 0.9, 3.0), one(1, 0.2)]).number == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("objective", [Best(), Vector(("valid_accuracy", "params"))])
@pytest.mark.parametrize("at", [0, 1, 7, 29])
def test_a_session_goes_on_from_its_json(workers: int, objective: Any, at: int) -> None:
    def fresh() -> Session:
        terms = Terms(table(), objective, workers=workers, queries=30, free_duplicates=False)
        return Session(terms, Evolution(5, 2).start(SPACE, 1), Synchronous(3).start((), 0))

    s, again = fresh(), fresh()
    for _ in range(at):
        s.step()
    again.load_state_dict(json.loads(json.dumps(s.state_dict())))
    rest = [t.to_json() for t in all_of(s)]
    assert [t.to_json() for t in all_of(again)] == rest and len(rest) == 30 - at
    assert again.state_dict() == s.state_dict()


def test_a_trial_is_json_and_back() -> None:
    proposal = Proposal(row(3), 12.0, "abc", {"n": 1})
    trial = Trial(proposal, Measurement({"m": 0.5}, 2.0, "ok", (0.1, 0.5)), (0.5,), 7, 1.0, 3.0, True, 4.0)
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial
    bare = Trial(Proposal(row(1)), Measurement({}, status="failed"))
    assert Trial.from_json(json.loads(json.dumps(bare.to_json()))) == bare
