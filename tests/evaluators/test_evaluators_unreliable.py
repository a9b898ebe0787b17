"""Injected failures, timeouts and noise: as often as asked, repeatable, and leaving the rest alone."""

from __future__ import annotations

import statistics

import pytest

from mimar.core.errors import UsageError
from mimar.core.streams import Draws
from mimar.evaluators.table import Table
from mimar.evaluators.unreliable import Unreliable
from mimar.objectives import Best
from mimar.schedulers import Asynchronous
from mimar.search.session import Session, Terms, best
from mimar.space import Choice, Measurement, Proposal, Space
from mimar.strategies import Evolution
from mimar.testing import check_evaluator

SPACE = Space([Choice("width", (8, 16, 32, 64), "size"), Choice("norm", ("batch", "layer"))])
TABLE = Table.from_arrays(
    SPACE,
    {"valid_accuracy": [[i / 20 for i in range(8)], [i / 10 for i in range(8)]]},
    known={"params": range(8)},
    final={"test_accuracy": [i / 10 for i in range(8)]},
    seconds=[[1.0] * 8, [4.0] * 8],
    fidelities=(1, 4),
    resumes=True,
)
SINGLE = Table.from_arrays(SPACE, {"valid_accuracy": [[0.0] * 8, [1.0] * 8]}, single=True)
ARCH = next(iter(SPACE.enumerate()))
RUNS = 4000


def answers(evaluator: Unreliable, n: int = RUNS) -> list[Measurement]:
    return [evaluator.evaluate(Proposal(ARCH), rng=Draws(0, "evaluate", i)) for i in range(n)]


def test_failures_and_timeouts_come_as_often_as_asked() -> None:
    found = answers(Unreliable(TABLE, failures=0.2, timeouts=0.1))
    statuses = [result.status for result in found]
    assert abs(statuses.count("failed") - 800) < 3 * 25.3 and abs(statuses.count("timeout") - 400) < 3 * 19
    assert all(not r.metrics and not r.curve for r in found if r.status != "ok")
    assert all(r == TABLE.evaluate(Proposal(ARCH)) for r in found if r.status == "ok")
    assert {r.cost for r in found if r.status == "timeout"} == {4.0}
    failed = [r.cost for r in found if r.status == "failed"]
    assert 0 <= min(failed) < 0.1 and 3.9 < max(failed) < 4 and abs(statistics.mean(failed) - 2.0) < 0.15


def test_noise_is_normal_and_on_measured_figures_alone() -> None:
    found = answers(Unreliable(TABLE, failures=0.0, noise=0.5))
    exact = TABLE.evaluate(Proposal(ARCH))
    errors = [r.metrics["valid_accuracy"] - exact.metrics["valid_accuracy"] for r in found]
    assert abs(statistics.mean(errors)) < 3 * 0.5 / RUNS**0.5 and abs(statistics.stdev(errors) - 0.5) < 0.02
    within = sum(abs(e) < 0.5 for e in errors) / RUNS
    assert abs(within - 0.6827) < 0.025
    assert all(r.metrics["params"] == 0.0 and r.cost == 4.0 for r in found)
    assert all(r.curve[-1] == r.metrics["valid_accuracy"] and len(r.curve) == 2 for r in found)


def test_nothing_asked_changes_nothing() -> None:
    for table in (TABLE, SINGLE):
        calm = Unreliable(table, failures=0.0)
        for i in range(20):
            rng, same = Draws(3, i), Draws(3, i)
            assert calm.evaluate(Proposal(ARCH), rng=rng) == table.evaluate(Proposal(ARCH), rng=same)


def test_the_evaluators_own_draws_stay_the_same() -> None:
    rough = Unreliable(SINGLE, failures=0.3)
    for i in range(100):
        result = rough.evaluate(Proposal(ARCH), rng=Draws(0, i))
        if result.status == "ok":
            assert result == SINGLE.evaluate(Proposal(ARCH), rng=Draws(0, i))


def test_without_a_stream_it_depends_on_architecture_and_fidelity_alone() -> None:
    rough = Unreliable(TABLE, failures=0.5)
    every = list(SPACE.enumerate())
    first = [rough.evaluate(Proposal(a), 4.0).status for a in every]
    assert first == [rough.evaluate(Proposal(a, 4.0)).status for a in every] and len(set(first)) == 2
    assert first != [rough.evaluate(Proposal(a), 1.0).status for a in every]


def test_what_is_infeasible_stays_so() -> None:
    foreign = Proposal(type(ARCH)({"width": 9}))
    assert answers(Unreliable(TABLE, failures=1.0), 3)[0].status == "failed"
    assert Unreliable(TABLE, failures=1.0).evaluate(foreign).status == "infeasible"


def test_everything_else_is_the_evaluators_own() -> None:
    rough = Unreliable(TABLE, failures=0.2)
    assert (rough.space, rough.measures, rough.fidelities, rough.unit, rough.resumes) == (
        TABLE.space,
        TABLE.measures,
        TABLE.fidelities,
        "s",
        True,
    )
    assert (rough.costs(ARCH), rough.verdict(ARCH), rough.prepare(0)) == (TABLE.costs(ARCH), TABLE.verdict(ARCH), 0.0)
    assert rough.digest() == rough.identity() != Unreliable(TABLE, failures=0.3).digest()


def test_it_keeps_the_laws_of_evaluators() -> None:
    check_evaluator(Unreliable(TABLE, failures=0.3, noise=0.1, timeouts=0.2), samples=20)


def test_wrong_probabilities_are_told() -> None:
    with pytest.raises(UsageError, match="Unreliable.failures is 1.2; it must be a number at least 0 and at most 1"):
        Unreliable(TABLE, failures=1.2)
    with pytest.raises(UsageError, match="Unreliable.noise is -1"):
        Unreliable(TABLE, noise=-1)
    with pytest.raises(UsageError, match=r"failures and timeouts are 0.7 and 0.6: together at most 1"):
        Unreliable(TABLE, failures=0.7, timeouts=0.6)


def test_a_search_lives_with_it() -> None:
    terms = Terms(Unreliable(TABLE, failures=0.3, noise=0.05, timeouts=0.1), Best(), queries=80)
    session = Session(terms, Evolution(8, 3).start(SPACE, 0), Asynchronous().start(TABLE.fidelities, 0))
    while session.step() is not None:
        pass
    top = best(session.trials)
    assert session.ledger.failed > 15 and top is not None and TABLE.verdict(top.architecture)["test_accuracy"] >= 0.6
