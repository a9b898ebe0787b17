"""Bayesian optimisation over (architecture, resource): at which resource it looks, what is pending, and whether it finds."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from mimar.predictors.resources import ResourceProcess
from mimar.space import Architecture, Choice, Measurement, Proposal, Space, Trial
from mimar.strategies.fantasies import Fantasies
from mimar.testing import check_strategy
from mimar.testing.strategy import small_space

PLANE = Space([Choice("x", (0.0, 1.0), "value"), Choice("y", (0.0, 1.0), "value")])
CURVED = Fantasies(target="value", process=ResourceProcess(noise=1e-3))


def trial(arch: Any, value: float | None, fidelity: float | None = None, **more: Any) -> Trial:
    values = () if value is None else (value,)
    status: Any = "failed" if value is None else "ok"
    return Trial(Proposal(Architecture(arch), fidelity), Measurement({}, 1.0, status), values, **more)


def place(x: float, y: float) -> Architecture:
    return Architecture({"x": x, "y": y})


def worth(arch: Architecture) -> float:
    return 1.0 - (arch["x"] - 0.3) ** 2 - (arch["y"] - 0.6) ** 2


def test_the_laws_of_strategies() -> None:
    check_strategy(Fantasies(initial=4, candidates=20, fantasies=3))


def test_the_first_are_random_and_the_rest_follow_the_process() -> None:
    """Best of 25 on a plane, five seeds: an order of magnitude nearer to the optimum than at random."""
    left = []
    for seed in range(5):
        searcher = CURVED.start(PLANE, seed)
        found = []
        for _ in range(25):
            (proposal,) = searcher.ask(1)
            found.append(1.0 - worth(proposal.architecture))
            searcher.tell([trial(proposal.architecture, 1.0 - found[-1])])
        left.append(min(found))
    rng = np.random.default_rng(0)
    random = [min(1.0 - worth(place(*rng.random(2))) for _ in range(25)) for _ in range(50)]
    assert np.mean(left) < 0.2 * np.mean(random)


def test_it_looks_at_the_highest_resource_with_three_results() -> None:
    searcher = Fantasies().start(PLANE, 0)
    rng = np.random.default_rng(0)
    for i in range(9):
        searcher.tell([trial(place(*rng.random(2)), 0.5 + i / 100, 1.0)])
    for i in range(2):
        searcher.tell([trial(place(*rng.random(2)), 0.7, 9.0, since=1.0)])
    assert searcher._condition([]) == 1.0
    searcher.tell([trial(place(*rng.random(2)), 0.7, 9.0, since=1.0)])
    assert searcher._condition([]) == 9.0
    few = Fantasies(enough=5).start(PLANE, 0)
    few.tell([trial(place(*rng.random(2)), 0.5, r) for r in (3.0, 9.0, 27.0)])
    assert few._condition([]) == 3.0  # nothing has enough: the lowest


def test_workers_that_ask_at_once_are_sent_apart() -> None:
    """Without looking at what is pending the same optimum would be proposed four times."""
    searcher = CURVED.start(PLANE, 3)
    rng = np.random.default_rng(1)
    for _ in range(12):
        arch = place(*rng.random(2))
        searcher.tell([trial(arch, worth(arch))])
    searcher.asked = 12
    pending = searcher.ask(4)
    apart = [
        math.dist(list(p.architecture.values()), list(q.architecture.values()))
        for i, p in enumerate(pending)
        for q in pending[:i]
    ]
    assert min(apart) > 1e-3 and len({p.architecture for p in pending}) == 4


@pytest.mark.parametrize("fantasies", [1, 2, 20])
def test_what_is_pending_changes_no_mean(fantasies: int) -> None:
    """Over the fantasies the mean elsewhere is what it was without them, at any resource; one fantasy is the mean itself."""
    rng = np.random.default_rng(2)
    told = [trial(place(*rng.random(2)), 0.5 + i / 40, (1.0, 9.0)[i % 2]) for i in range(12)]
    pending = [Proposal(place(*rng.random(2)), r) for r in (1.0, 9.0, None)]
    others = [place(*rng.random(2)) for _ in range(7)]
    found = []
    for under_way in ([], pending):
        searcher = Fantasies(fantasies=fantasies).start(PLANE, 0)
        searcher.tell(told)
        searcher._condition(under_way)
        found.append((searcher._means(others, 9.0), searcher._means([p.architecture for p in pending], 9.0)[1]))
    ((before, _), sure), ((after, _), surer) = found
    assert after.shape == (7, fantasies) and after.mean(1) == pytest.approx(before[:, 0])
    assert np.all(surer < sure)


def test_nothing_is_measured_twice_and_a_small_space_ends_at_random() -> None:
    space = Space([Choice("a", ("0", "1", "2")), Choice("b", ("0", "1", "2"))])
    searcher = Fantasies(initial=2, candidates=10).start(space, 0)
    seen: list[Architecture] = []
    for i in range(40):
        (proposal,) = searcher.ask(1, [Proposal(a) for a in seen[-1:]])
        if i >= 2 and len(set(seen)) < 9:
            assert proposal.architecture not in seen[:-1] or len(set(seen[:-1])) == 9
        if seen:
            searcher.tell([trial(seen[-1], 0.1 * (i % 5))])
        seen.append(proposal.architecture)
    assert len(set(seen)) == 9


def test_failures_are_never_learned_from_and_never_proposed_again() -> None:
    searcher = Fantasies(initial=2).start(PLANE, 0)
    searcher.tell([trial(place(i / 10, 0.5), None) for i in range(10)])
    assert searcher.known == [] and len(searcher.seen) == 10
    assert all(PLANE.valid(p.architecture) for p in searcher.ask(5))


def test_only_so_many_are_conditioned_on_the_highest_first() -> None:
    searcher = Fantasies(most=10).start(PLANE, 0)
    rng = np.random.default_rng(0)
    searcher.tell([trial(place(*rng.random(2)), 0.5 + i / 100, 9.0 if i < 4 else 1.0) for i in range(30)])
    searcher._condition([])
    assert searcher.model.data is not None
    logs = searcher.model.data.logs
    assert len(logs) == 10 and sum(logs > 0) == 4
    values = searcher.model.data.codes[:6, 0]
    assert values.tolist() == [k.architecture["x"] for k in searcher.known[-6:]]  # of the lowest the last


def test_limits_are_kept_in_the_pool() -> None:
    searcher = Fantasies(initial=1).start(PLANE, 0)
    searcher.inform(lambda arch: {"x": arch["x"]}, lambda arch: arch["x"] < 0.5)
    rng = np.random.default_rng(0)
    searcher.tell([trial(place(*rng.random(2)), 0.5 + i / 100) for i in range(8)])
    searcher.asked = 8
    assert all(p.architecture["x"] < 0.5 for p in searcher.ask(6))


@pytest.mark.parametrize("space", [small_space(), PLANE])
@pytest.mark.parametrize("target", ["value", "log-error"])
def test_it_goes_on_from_its_json(space: Space, target: Any) -> None:
    part = Fantasies(initial=3, candidates=30, fantasies=5, target=target)
    first, pending = part.start(space, 0), []
    for i in range(14):
        (proposal,) = first.ask(1, pending)
        pending.append(Proposal(proposal.architecture, float(1 + 2 * (i % 2))))
        if len(pending) > 3:
            gone = pending.pop(0)
            first.tell([trial(gone.architecture, 0.5 + (i % 4) / 10, gone.fidelity)])
        second = part.start(space, 0)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert json.dumps(second.state_dict()) == json.dumps(first.state_dict())
        ours = part.start(space, 0)
        ours.load_state_dict(first.state_dict())
        assert ours.ask(1, pending) == second.ask(1, pending)


def test_several_objectives_are_one_by_their_utilities() -> None:
    searcher = Fantasies(initial=2, candidates=20).start(PLANE, 0)
    for i in range(10):
        (proposal,) = searcher.ask(1)
        values = (proposal.architecture["x"], -proposal.architecture["y"])
        searcher.tell([Trial(proposal, Measurement({}), values)])
    assert len(searcher.known) == 10
