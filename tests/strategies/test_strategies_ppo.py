"""PPO: the clipped surrogate against finite differences, agents in step or not, and runs that go on bit for bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.space import Architecture, Choice, Space
from mimar.strategies import Measurement, Proposal, Trial
from mimar.strategies.ascent import Baseline
from mimar.strategies.policies import Factorised
from mimar.strategies.ppo import Ppo
from mimar.strategies.recurrent import Recurrent
from mimar.testing import check_strategy

SPACE = Space([Choice("a", ("x", "y")), Choice("b", ("x", "y", "z"), when=(("a", "x"),)), Choice("c", ("u", "v"))])
SMALL = Recurrent(hidden=4, layers=1, scale=0.5)
PLAIN = Factorised(spread=0.3)


def reward(arch: Architecture) -> float:
    return int(arch.digest[:4], 16) % 1000 / 1000


def answer(proposal: Proposal, status: str = "ok") -> Trial:
    values = (reward(proposal.architecture),) if status == "ok" else ()
    return Trial(proposal, Measurement({}, status=status), values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "part",
    [
        Ppo(policy=SMALL, batch=2),
        Ppo(policy=PLAIN, batch=1, agents=2),
        Ppo(policy=PLAIN, batch=2, agents=2, averaging="synchronous"),
    ],
    ids=["one", "asynchronous", "synchronous"],
)
def test_it_keeps_the_laws_of_strategies(part: Ppo) -> None:
    check_strategy(part)


@pytest.mark.parametrize("policy", [PLAIN, SMALL], ids=["factorised", "recurrent"])
def test_gradient_is_that_of_the_clipped_surrogate(policy: Any) -> None:
    searcher = Ppo(policy=policy, batch=6, entropy=0.05).start(SPACE, 0)
    agent, sampler = searcher.agents[0], searcher.sampler
    archs = list(SPACE.enumerate())[:6]
    batch = [searcher.rewards(answer(Proposal(a, meta={"log_prob": -1.0}))) for a in archs]
    given = np.array([0.3, -0.2, 0.5, -0.4, 0.1, -0.1])
    now = sampler.measure(archs)[0]
    old = now + np.array([-0.5, -0.5, 0.05, -0.05, 0.5, 0.5])  # ratios 1.65 1.65 0.95 1.05 0.61 0.61, old where it was

    def surrogate() -> float:
        logs, ways = sampler.measure(archs)
        ratio = np.exp(logs - old)
        clipped = np.clip(ratio, 0.8, 1.2)
        return float(np.minimum(ratio * given, clipped * given).sum() + 0.05 / 6 * ways.sum())

    found = searcher._slope(agent, batch, given, old)
    here, slopes = sampler.parameters.copy(), []
    for i in range(len(here)):
        ends = []
        for sign in (1, -1):
            moved = here.copy()
            moved[i] += sign * 1e-6
            sampler.load(moved)
            ends.append(surrogate())
        slopes.append((ends[0] - ends[1]) / 2e-6)
    assert np.abs(found).max() > 0.01
    assert np.allclose(found, slopes, atol=1e-7)


def trajectory(part: Ppo, trials: int = 24) -> list[str]:
    searcher, found = part.start(SPACE, 1), []
    for _ in range(trials):
        (proposal,) = searcher.ask(1)
        searcher.tell([answer(proposal)])
        found.append(json.dumps([dict(proposal.architecture), searcher.parameters.tolist()]))
    return found


@pytest.mark.parametrize("policy", [PLAIN, SMALL], ids=["factorised", "recurrent"])
def test_one_agent_goes_the_same_way_in_step_or_not(policy: Any) -> None:
    part = Ppo(policy=policy, batch=3, lr=0.05)
    in_step = Ppo(policy=policy, batch=3, lr=0.05, averaging="synchronous")
    assert trajectory(part) == trajectory(in_step)
    assert len(set(trajectory(part))) > 3


def test_several_agents_do_not() -> None:
    first, second = (
        Ppo(policy=PLAIN, batch=3, lr=0.05, agents=2, averaging=a)  # type: ignore[arg-type]
        for a in ("asynchronous", "synchronous")
    )
    assert trajectory(first) != trajectory(second)


def test_in_step_all_wait_for_the_last_and_have_the_same_parameters() -> None:
    searcher = Ppo(policy=PLAIN, batch=2, agents=2, averaging="synchronous").start(SPACE, 0)
    asked = searcher.ask(4)
    assert [p.meta["agent"] for p in asked] == [0, 1, 0, 1]
    searcher.tell([answer(asked[0]), answer(asked[2]), answer(asked[1])])
    assert searcher.adam.steps == 0
    searcher.tell([answer(asked[3])])
    assert searcher.adam.steps == 4
    assert all(np.array_equal(a.parameters, searcher.parameters) and not a.waiting for a in searcher.agents)


def test_out_of_step_an_agent_learns_alone_and_the_other_keeps_what_it_has() -> None:
    searcher = Ppo(policy=PLAIN, batch=2, agents=2, epochs=3).start(SPACE, 0)
    begun = searcher.parameters.copy()
    asked = searcher.ask(4)
    searcher.tell([answer(asked[0]), answer(asked[2])])
    assert searcher.adam.steps == 3
    assert np.array_equal(searcher.agents[0].parameters, searcher.parameters)
    assert np.array_equal(searcher.agents[1].parameters, begun)
    assert not np.array_equal(searcher.parameters, begun)


def test_clipping_stops_the_steps_on_one_batch() -> None:
    archs = [Architecture({"a": "y", "c": "u"}), Architecture({"a": "x", "b": "z", "c": "v"})]
    ends = {}
    for epochs, clip in ((1, 0.2), (1500, 0.2), (1500, 1.0)):
        part = Ppo(policy=PLAIN, batch=2, lr=0.001, epochs=epochs, clip=clip, baseline=Baseline(0.5, "after"))
        searcher = part.start(SPACE, 0)
        before = searcher.sampler.measure(archs)[0]
        searcher.tell([Trial(Proposal(a), Measurement({}), (v,)) for a, v in zip(archs, (1.0, 0.0), strict=True)])
        searcher.sampler.load(searcher.parameters)
        ends[epochs, clip] = np.exp(searcher.sampler.measure(archs)[0] - before)
    assert 1.0 < ends[1, 0.2][0] < 1.01 and 0.99 < ends[1, 0.2][1] < 1.0
    # both ratios leave [0.8, 1.2] by what is left of Adam's momentum, and by the other one's steps until it leaves too
    assert 1.2 < ends[1500, 0.2][0] < 1.35 and 0.6 < ends[1500, 0.2][1] < 0.8
    assert ends[1500, 1.0][0] > 1.9 and ends[1500, 1.0][1] < 0.3


def test_trials_over_the_time_count_as_the_worst() -> None:
    searcher = Ppo(policy=PLAIN, batch=3).start(SPACE, 0)
    asked = searcher.ask(3)
    told = [answer(asked[0]), answer(asked[1], "timeout"), answer(asked[2], "failed")]
    searcher.tell(told[:2])
    assert [p.reward for p in searcher.agents[0].waiting] == [reward(asked[0].architecture)] * 2
    searcher.tell(told[2:])
    assert searcher.adam.steps == 4


def test_it_finds_what_pays() -> None:
    wanted = Architecture({"a": "x", "b": "z", "c": "v"})
    searcher = Ppo(policy=PLAIN, batch=4, lr=0.02).start(SPACE, 0)
    for _ in range(400):
        (proposal,) = searcher.ask(1)
        alike = sum(proposal.architecture.get(name) == value for name, value in wanted.items())
        searcher.tell([Trial(proposal, Measurement({}), (float(alike),))])
    assert searcher.answer() == wanted


@pytest.mark.parametrize("averaging", ["asynchronous", "synchronous"])
def test_stopped_anywhere_it_goes_on_bit_for_bit(averaging: Any) -> None:
    part = Ppo(policy=SMALL, batch=2, agents=2, averaging=averaging)
    first = part.start(SPACE, 3)
    for _ in range(9):
        second = part.start(SPACE, 3)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        for searcher in (first, second):
            (proposal,) = searcher.ask(1)
            searcher.tell([answer(proposal)])
        assert json.dumps(first.state_dict()) == json.dumps(second.state_dict())


def test_a_range_of_one_must_be_clipped_to() -> None:
    with pytest.raises(UsageError, match="clip"):
        Ppo(clip=0.0)
