"""A memory of past architectures: its gradient, what a state holds, and how the association of states is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.core.streams import Draws
from mimar.space import Choice, Space, nasbench201
from mimar.strategies import Measurement, Proposal, Trial
from mimar.strategies.ascent import Adam
from mimar.strategies.recurrent import Recurrent
from mimar.strategies.reinforce import Reinforce
from mimar.strategies.replay import Replay, association

CELL = nasbench201()
SPACE = Space([Choice("a", ("x", "y")), Choice("b", ("x", "y", "z"), when=(("a", "x"),))])


def random(n: int, seed: int) -> list[Any]:
    draws = Draws(seed, "architectures")
    return [CELL.sample(draws) for _ in range(n)]


def deaf(sampler: Any) -> Any:
    """Make the logits ignore what the LSTM says."""
    sampler.net.head.weight.data.zero_()
    return sampler


def test_association_is_spearmans_over_disjoint_pairs() -> None:
    states = np.array([[0.0], [1.0], [0.0], [3.0], [0.0], [2.0]])
    archs = [{"c": 0, "d": 0}, {"c": 0, "d": 1}, {"c": 0, "d": 0}, {"c": 1, "d": 1}, {"c": 0, "d": 0}, {"c": 0, "d": 0}]
    # distances 1, 3, 2 and 1/2, 1, 0: ranks (1, 3, 2) and (2, 3, 1); ρ = 1 − 6·(1 + 0 + 1) / (3·8) = 1/2
    assert association(states, archs) == pytest.approx(0.5)
    assert association(np.zeros((6, 2)), archs) == 0.0
    with pytest.raises(UsageError, match="six"):
        association(states[:4], archs[:4])


def test_without_heeding_its_state_a_policy_draws_what_has_nothing_to_do_with_it() -> None:
    sampler = deaf(Recurrent().start(CELL, Draws(0)))
    found = []
    for seed in range(8):
        states = sampler.states(random(1000, seed))  # 500 pairs
        drawn = [d.architecture for d in sampler.draw(Draws(seed, "from states"), 1000, states)]
        found.append(association(states, drawn))
    assert abs(np.mean(found)) < 0.05 and max(map(abs, found)) < 4 / np.sqrt(499)


def test_an_autoencoder_draws_what_it_remembers() -> None:
    space = Space([Choice(f"c{i}", ("a", "b", "c")) for i in range(5)])
    sampler: Any = Recurrent(hidden=32, layers=1, scale=0.3).start(space, Draws(0))
    adam, draws = Adam(len(sampler.parameters), 0.02), Draws(1)

    def drawn_from(n: int = 1000) -> tuple[float, float]:
        """Return ρ of states and what is drawn from them, and the share of exact copies."""
        rng = Draws(5)
        read = [space.sample(rng) for _ in range(n)]
        states = sampler.states(read)
        drawn = [d.architecture for d in sampler.draw(rng, n, states)]
        return association(states, drawn), float(np.mean([a == b for a, b in zip(read, drawn, strict=True)]))

    rho, copies = drawn_from()
    assert abs(rho) < 0.1 and copies < 0.03
    for _ in range(150):
        adam.ascend(sampler.parameters, sampler.recall([space.sample(draws) for _ in range(32)])[1])
    rho, copies = drawn_from()
    assert rho > 0.5 and copies > 0.8


def test_recall_has_the_gradient_of_its_value() -> None:
    sampler: Any = Recurrent(hidden=4, layers=2, scale=0.7).start(SPACE, Draws(0))
    past = list(SPACE.enumerate())
    _, found = sampler.recall(past)
    here, rng = sampler.parameters.copy(), np.random.default_rng(0)
    for _ in range(5):
        way = rng.standard_normal(len(here))
        ends = []
        for sign in (1, -1):
            sampler.load(here + sign * 1e-6 * way)
            ends.append(sampler.recall(past)[0])
        sampler.load(here)
        assert found @ way == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


def test_a_state_is_where_the_lstm_is_after_the_last_decision() -> None:
    sampler: Any = Recurrent(hidden=4, layers=2, scale=0.7).start(SPACE, Draws(0))
    archs = list(SPACE.enumerate())  # of one and of two decisions
    together = sampler.states(archs)
    assert together.shape == (4, 2 * 2 * 4)
    assert all(np.abs(x - y).max() > 0.01 for i, x in enumerate(together) for y in together[:i])  # the last one counts
    for arch, row in zip(archs, together, strict=True):
        assert np.allclose(sampler.states([arch])[0], row, atol=1e-14)
    drawn = sampler.draw(Draws(0), 4, together)
    assert {d.architecture for d in drawn} <= set(archs)
    mean = sampler.recall(archs)[0]
    alone = [sampler.recall([a])[0] for a in archs]
    assert mean == pytest.approx(np.mean(alone), abs=1e-12)


def test_the_searcher_remembers_the_last_ones_and_learns_to_repeat_them() -> None:
    part = Reinforce(policy=Recurrent(hidden=16, layers=1), lr=0.02, replay=Replay(weight=1.0, size=5, batch=4))
    searcher = part.start(CELL, 0)
    told = random(25, 3) + 30 * random(5, 4)
    for arch in told:
        searcher.tell([Trial(Proposal(arch), Measurement({}), (0.5,))])
    assert searcher.memory == told[-5:]
    mean, _ = searcher.sampler.recall(searcher.memory)
    others, _ = searcher.sampler.recall(random(50, 5))
    assert mean > 5 * np.log(1 / 5) > others  # of 6 decisions, all but one as good as guessed are 5 · log 1/5
