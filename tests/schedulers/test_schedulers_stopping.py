"""ASHA and median stopping: the same promotions as halving, quantiles and medians by hand, nobody twice."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mimar.schedulers import ASHA, Job, MedianStopping, SuccessiveHalving, named
from mimar.space import Architecture, Proposal

GEOMETRIC = (1.0, 3.0, 9.0, 27.0)


class Asks:
    """A strategy that proposes 0, 1, 2, …, at most `most`."""

    def __init__(self, most: int = 10**9) -> None:
        self.count, self.most = 0, most

    def __call__(self) -> Proposal | None:
        if self.count == self.most:
            return None
        self.count += 1
        return Proposal(Architecture({"n": self.count - 1}))


def worth(job: Job) -> tuple[float, ...]:
    return (float(37 * job.key % 101),)


def rung_by_rung(course: Any, first: int) -> dict[float, set[int]]:
    """Return who was measured where when all results of a rung arrive before anything else begins."""
    found: dict[float, set[int]] = {}
    asks = Asks(first)
    while jobs := [job for job in iter(lambda: course.next(asks), None)]:
        for job in jobs:
            found.setdefault(job.fidelity, set()).add(job.key)
        for job in jobs:
            course.told(job, worth(job))
    return found


def test_synchronous_arrival_gives_the_promotions_of_halving() -> None:
    ours = rung_by_rung(ASHA(3).start(GEOMETRIC, 0), 27)
    theirs = rung_by_rung(SuccessiveHalving(3).start(GEOMETRIC, 0), 27)
    assert ours == theirs
    assert {fidelity: len(keys) for fidelity, keys in ours.items()} == {1: 27, 3: 9, 9: 3, 27: 1}


def test_one_worker_promotes_as_soon_as_a_third_is_known() -> None:
    """Values 0, 37, 74, 10, 47, 84 of keys 0 … 5: of the first three 2 goes on, of the first six 5 as well."""
    course, asks, seen = ASHA(3).start(GEOMETRIC, 0), Asks(), []
    for _ in range(9):
        job = course.next(asks)
        assert job is not None
        seen.append((job.key, job.fidelity, job.since))
        course.told(job, worth(job))
    assert seen[:5] == [(0, 1, None), (1, 1, None), (2, 1, None), (2, 3, 1), (3, 1, None)]
    assert seen[5:8] == [(4, 1, None), (5, 1, None), (5, 3, 1)]


def test_a_late_better_one_is_promoted_too() -> None:
    """The best third of four is one; when that is not the one that went on, it goes on as well."""
    course, asks = ASHA(3).start((1.0, 3.0), 0), Asks()
    values = [1.0, 0.0, 0.0, 2.0]
    told = []
    for _ in range(6):
        job = course.next(asks)
        assert job is not None
        told.append((job.key, job.fidelity))
        course.told(job, (values[job.key],) if job.key < 4 else (0.0,))
    assert told == [(0, 1), (1, 1), (2, 1), (0, 3), (3, 1), (3, 3)]


def test_nobody_is_promoted_twice_whatever_the_order_and_who_fails_never() -> None:
    rng = random.Random(0)
    for _ in range(20):
        course, asks = ASHA(3).start(GEOMETRIC, 0), Asks()
        waiting: list[Job] = []
        begun: Counter[tuple[int, float]] = Counter()
        ended: dict[float, dict[int, float]] = {fidelity: {} for fidelity in GEOMETRIC}  # failures as −1
        for _ in range(300):
            if len(waiting) < 4:
                job = course.next(asks)
                assert job is not None and job.fidelity is not None
                begun[job.key, job.fidelity] += 1
                waiting.append(job)
                if job.since is not None:
                    below = ended[job.since]
                    assert below[job.key] >= 0
                    assert sum(value > below[job.key] for value in below.values()) < len(below) // 3
            else:
                job = waiting.pop(rng.randrange(4))
                value = -1.0 if rng.random() < 0.2 else rng.random()
                ended[job.fidelity or 0][job.key] = value
                course.told(job, None if value < 0 else (value,))
        assert max(begun.values()) == 1 and ended[27.0]


def test_failures_count_among_those_that_a_third_is_taken_of() -> None:
    course, asks = ASHA(3).start((1.0, 3.0), 0), Asks()
    for value in (None, None, (0.5,)):
        job = course.next(asks)
        assert job is not None
        course.told(job, value)
    assert set(course.proposals) == {2}  # the others are forgotten
    job = course.next(asks)
    assert job is not None and (job.key, job.fidelity) == (2, 3)


def test_wide_steps_promote_fewer() -> None:
    """12 → 200 epochs is three powers of 3: one of 27."""
    course, asks = ASHA(3).start((12.0, 200.0), 0), Asks()
    jobs = []
    for _ in range(28):
        job = course.next(asks)
        assert job is not None
        jobs.append(job)
        course.told(job, worth(job))
    assert [job.fidelity for job in jobs] == [12.0] * 27 + [200.0]
    assert jobs[-1].key == max(range(27), key=lambda key: 37 * key % 101)


def test_stopping_is_by_the_quantile_with_linear_interpolation() -> None:
    """An independent oracle: numpy's quantile of everything seen on the rung, the newcomer included."""
    rng = np.random.default_rng(0)
    values = rng.random(60).round(3)
    course, asks = ASHA(3, "stop").start((1.0, 3.0), 0), Asks()
    seen: list[float] = []
    for key in range(60):
        job = course.next(asks)
        assert job is not None and (job.key, job.fidelity, job.since) == (key, 1.0, None)
        seen.append(float(values[key]))
        course.told(job, (seen[-1],))
        if seen[-1] >= np.quantile(seen, 2 / 3):
            going = course.next(asks)
            assert going is not None and (going.key, going.fidelity, going.since) == (key, 3.0, 1.0)
            course.told(going, (1.0,))
    assert asks.count == 60


def test_who_goes_on_goes_before_anything_new() -> None:
    course, asks = ASHA(3, "stop").start(GEOMETRIC, 0), Asks()
    climbs = []
    for _ in range(4):
        job = course.next(asks)
        assert job is not None
        climbs.append((job.key, job.fidelity))
        course.told(job, (1.0,))
    assert climbs == [(0, 1), (0, 3), (0, 9), (0, 27)]  # the first of all is within any quantile
    job = course.next(asks)
    assert job is not None and job.key == 1


def climb(course: Any, asks: Asks, values: list[float]) -> int:
    """Return at how many fidelities one proposal was measured when it has these values, larger ones after."""
    key = asks.count
    for level, value in enumerate(values):
        job = course.next(asks)
        assert job is not None
        if job.key != key:
            raise AssertionError(f"{job.key} came at level {level} of {key}")
        course.told(job, (value,))
        if not any(going[0] == key for going in course.rule.memory["going"]):
            return level + 1
    return len(values)


def test_a_curve_below_the_median_of_the_means_ends() -> None:
    """Means at the second fidelity: .2, .3, .4, .5, .6 of five flat curves: the median is .4, of the best, not the last."""
    course, asks = MedianStopping(grace=2, others=5).start((1.0, 2.0, 3.0), 0), Asks()
    for flat in (0.2, 0.3, 0.4, 0.5, 0.6):
        assert climb(course, asks, [flat] * 3) == 3
    assert climb(course, asks, [0.1, 0.39, 0.0]) == 2
    assert climb(course, asks, [0.4, 0.1, 0.0]) == 3  # its best is the median; means are now … .245, .25 too


def test_the_means_of_rising_curves_are_lower_than_their_ends() -> None:
    course, asks = MedianStopping(grace=1, others=2).start((1.0, 2.0, 3.0), 0), Asks()
    assert climb(course, asks, [0.0, 0.8, 0.9]) == 3
    assert climb(course, asks, [0.0, 0.8, 0.9]) == 3
    assert climb(course, asks, [0.0, 0.41, 0.9]) == 3  # the mean of (0, .8) is .4
    assert climb(course, asks, [0.0, 0.39, 0.9]) == 2


def test_grace_and_company_are_waited_for() -> None:
    lonely, asks = MedianStopping(grace=1, others=5).start((1.0, 2.0), 0), Asks()
    for value in (0.9, 0.8, 0.7, 0.6, 0.5):  # fewer than five others
        assert climb(lonely, asks, [value, value]) == 2
    assert climb(lonely, asks, [0.4, 0.4]) == 1
    graced, asks = MedianStopping(grace=2, others=1).start((1.0, 2.0, 3.0), 0), Asks()
    assert climb(graced, asks, [0.9, 0.9, 0.9]) == 3
    assert climb(graced, asks, [0.1, 0.1, 0.1]) == 2


def test_with_several_objectives_the_dominated_end() -> None:
    course, asks = MedianStopping(grace=1, others=2).start((1.0, 2.0), 0), Asks()
    jobs = [course.next(asks) for _ in range(3)]
    for job, value in zip(jobs, ((1.0, 0.0), (0.0, 1.0), (-1.0, -1.0)), strict=True):
        assert job is not None
        course.told(job, value)
    assert [job.key for job in (course.next(asks), course.next(asks), course.next(asks)) if job] == [0, 1, 3]


@pytest.mark.parametrize("name", ["asha", "asha:eta=2,kind=stop", "median-stopping:grace=2,others=3"])
def test_names_give_parts(name: str) -> None:
    part = named(name)
    assert named(part) == part and type(part).__name__.lower().startswith(name.partition(":")[0].replace("-", "")[:4])
