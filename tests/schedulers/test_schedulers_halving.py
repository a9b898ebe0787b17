"""Successive halving and Hyperband: who is measured where, at which cost, and an exact middle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from mimar.core.errors import UsageError
from mimar.schedulers import Hyperband, Job, Scheduler, SuccessiveHalving, named
from mimar.schedulers.rungs import ladder
from mimar.space import Architecture, Proposal

GEOMETRIC = (1.0, 3.0, 9.0, 27.0)
SPIKES = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 100.0)


def asking(most: int | None = None) -> Callable[[], Proposal | None]:
    numbers = iter(range(most if most is not None else 10**9))
    return lambda: next((Proposal(Architecture({"n": i})) for i in numbers), None)


def worth(job: Job) -> tuple[float, ...]:
    """Return a value that has nothing to do with the order of proposals: 37 i mod 101 differ for i < 101."""
    return (float(37 * int(job.proposal.architecture["n"]) % 101),)


def run(course: Any, ask: Any, jobs: int, value: Callable[[Job], Any] = worth, workers: int = 1) -> list[Job]:
    """Return the jobs in the order in which they began, `workers` at a time, ended first in first out."""
    begun: list[Job] = []
    waiting: list[Job] = []
    while len(begun) < jobs:
        job = course.next(ask) if len(waiting) < workers else None
        if job is not None:
            begun.append(job)
            waiting.append(job)
            continue
        if not waiting:
            break
        ended = waiting.pop(0)
        course.told(ended, value(ended))
    return begun


def numbers(jobs: list[Job], fidelity: float) -> list[int]:
    return [job.proposal.architecture["n"] for job in jobs if job.fidelity == fidelity]


def test_a_bracket_of_27_is_9_3_1_and_costs_four_times_its_first_rung() -> None:
    jobs = run(SuccessiveHalving(3).start(GEOMETRIC, 0), asking(), 40)
    assert Counter(job.fidelity for job in jobs) == {1: 27, 3: 9, 9: 3, 27: 1}
    assert sum(job.fidelity or 0 for job in jobs) == 4 * 27
    assert run(SuccessiveHalving(3).start(GEOMETRIC, 0), asking(), 41)[-1].fidelity == 1  # another bracket begins


def test_the_best_of_each_rung_go_on_and_say_where_they_come_from() -> None:
    jobs = run(SuccessiveHalving(3).start(GEOMETRIC, 0), asking(), 40)
    for low, high in pairwise(GEOMETRIC):
        rung = sorted(numbers(jobs, low), key=lambda i: -(37 * i % 101))
        assert numbers(jobs, high) == rung[: len(rung) // 3]
        assert all(job.since == low for job in jobs if job.fidelity == high)
    assert all(job.since is None for job in jobs if job.fidelity == 1)
    keys = [(job.key, job.fidelity) for job in jobs]
    assert len(set(keys)) == len(keys)  # nobody twice on one rung


@pytest.mark.parametrize(("eta", "first", "last"), [(20, 80, 4), (60, 120, 2), (3, None, 1), (4, 70, 4)])
def test_two_fidelities_are_two_rungs(eta: int, first: int | None, last: int) -> None:
    course = SuccessiveHalving(eta, first).start((12.0, 200.0), 0)
    count = first or 27  # 200 / 12 is nearest to 3^3
    jobs = run(course, asking(), count + last)
    assert (len(numbers(jobs, 12.0)), len(numbers(jobs, 200.0))) == (count, last)


def test_rungs_are_the_fidelities_nearest_to_powers() -> None:
    assert [tuple(r) for r in ladder(GEOMETRIC, 3, "x")] == [(1, 0), (3, 1), (9, 2), (27, 3)]
    assert [r.fidelity for r in ladder(SPIKES, 3, "x")] == [1, 3, 10, 25, 100]  # ln 27/25 < ln 30/27
    assert [tuple(r) for r in ladder((0.0, 2.0, 4.0), 3, "x")] == [(2, 0), (4, 1)]  # nothing costs nothing
    assert [tuple(r) for r in ladder((1.0, 2.0, 100.0), 2, "x")] == [(1, 0), (2, 1), (100, 7)]  # 2 stands for 2 … 2^6
    fewer = SuccessiveHalving(3, rungs=2).start(GEOMETRIC, 0)
    assert Counter(job.fidelity for job in run(fewer, asking(), 4)) == {9: 3, 27: 1}


def test_hyperband_is_the_table_of_its_paper() -> None:
    """R = 81, η = 3: brackets of 81, 34, 15, 8 and 5 (⌈5/4·27⌉ = 34, ⌈5/3·9⌉ = 15, ⌈5/2·3⌉ = 8)."""
    jobs = run(Hyperband(3).start((1.0, 3.0, 9.0, 27.0, 81.0), 0), asking(), 81 + 34 + 15 + 8 + 5 + 1000)
    starts = [job.fidelity for job in jobs if job.since is None][: 81 + 34 + 15 + 8 + 5 + 1]
    assert Counter(starts[:-1]) == {1: 81, 3: 34, 9: 15, 27: 8, 81: 5}
    assert starts[-1] == 1  # and round again
    first = jobs[: 81 + 27 + 9 + 3 + 1]
    assert Counter(job.fidelity for job in first) == {1: 81, 3: 27, 9: 9, 27: 3, 81: 1}
    second = jobs[len(first) : len(first) + 34 + 11 + 3 + 1]
    assert Counter(job.fidelity for job in second) == {3: 34, 9: 11, 27: 3, 81: 1}


def test_hyperband_leaves_out_starts_without_a_fidelity() -> None:
    jobs = run(Hyperband(3).start((12.0, 200.0), 0), asking(), 27 + 1 + 4 + 1)
    assert [job.fidelity for job in jobs] == [12.0] * 27 + [200.0] * 5 + [12.0]
    assert [job.since for job in jobs[27:]] == [12.0, None, None, None, None, None]


def test_who_fails_is_never_promoted() -> None:
    def value(job: Job) -> Any:
        return None if job.proposal.architecture["n"] % 3 else worth(job)

    jobs = run(SuccessiveHalving(3).start(GEOMETRIC, 0), asking(), 40, value)
    assert Counter(job.fidelity for job in jobs[:40]) == {1: 27, 3: 9, 9: 3, 27: 1}  # nine of 27 are left, all go on
    assert all(n % 3 == 0 for n in numbers(jobs, 3.0))
    over = run(SuccessiveHalving(3, 9).start(GEOMETRIC, 0), asking(), 20, lambda job: None)
    assert {job.fidelity for job in over} == {1.0}  # of nothing but failures nothing goes on


def test_a_strategy_that_ends_early_leaves_a_smaller_bracket() -> None:
    jobs = run(SuccessiveHalving(3).start(GEOMETRIC, 0), asking(13), 100)
    assert Counter(job.fidelity for job in jobs) == {1: 13, 3: 4, 9: 1, 27: 1}
    assert run(SuccessiveHalving(3).start(GEOMETRIC, 0), asking(0), 10) == []


def test_workers_that_would_wait_begin_the_next_bracket() -> None:
    course = SuccessiveHalving(3, 3, 2).start(GEOMETRIC, 0)
    begun = [course.next(asking()) for _ in range(3)]
    other = course.next(asking())
    assert other is not None and other.fidelity == 9 and other.key == 3  # of another bracket
    for job in begun:
        assert job is not None
        course.told(job, worth(job))
    first = course.next(asking())
    assert first is not None and first.fidelity == 27 and first.key in {job.key for job in begun if job}


def test_several_objectives_are_compared_on_their_rung() -> None:
    """Of (1, 0), (0, 1) and (0, 0) the last is dominated; of the front the first is taken."""
    values = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    jobs = run(SuccessiveHalving(3, 3, 2).start(GEOMETRIC, 0), asking(), 4, lambda job: values[job.key])
    assert jobs[-1].fidelity == 27 and jobs[-1].key == 1


@pytest.mark.parametrize(
    "part", [SuccessiveHalving(3), SuccessiveHalving(2, 5, 3), Hyperband(3), named("asha"), named("asha:kind=stop")]
)
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("at", [0, 1, 28, 61])
def test_a_course_goes_on_from_its_json(part: Scheduler, workers: int, at: int) -> None:
    def value(job: Job) -> Any:
        return None if job.key % 5 == 0 else worth(job)

    def rest(course: Any, waiting: list[Job]) -> list[Job]:
        ask, begun = asking(), []
        for _ in range(150):
            job = course.next(ask) if len(waiting) < workers else None
            if job is None:
                course.told(waiting[0], value(waiting.pop(0)))
            else:
                begun.append(job)
                waiting.append(job)
        return begun

    course, waiting, ask, count = part.start(GEOMETRIC, 0), [], asking(), 0
    while count < at:
        job = course.next(ask) if len(waiting) < workers else None
        if job is None:
            course.told(waiting[0], value(waiting.pop(0)))
        else:
            waiting.append(job)
            count += 1
    state = json.dumps(course.state_dict())
    again = part.start(GEOMETRIC, 0)
    again.load_state_dict(json.loads(state))
    assert json.dumps(again.state_dict()) == state
    assert rest(again, list(waiting)) == rest(course, list(waiting))
    assert json.dumps(again.state_dict()) == json.dumps(course.state_dict())


@pytest.mark.parametrize("name", ["successive-halving", "hyperband", "asha", "asha:kind=stop", "median-stopping"])
def test_one_fidelity_is_too_few(name: str) -> None:
    part = named(name)
    word = name.partition(":")[0]
    with pytest.raises(UsageError, match=f"{word} needs two or more fidelities and the evaluator offers 12 alone"):
        part.start((12.0,), 0)
    with pytest.raises(UsageError, match="offers none"):
        part.start((), 0)


def test_rungs_that_are_not_there() -> None:
    with pytest.raises(UsageError, match=r"successive-halving has 2 rungs here \(12, 200\), not rungs=3"):
        SuccessiveHalving(rungs=3).start((12.0, 200.0), 0)
    with pytest.raises(UsageError, match="eta is 1"):
        SuccessiveHalving(1)
