"""REINFORCE: steps by hand, its gradient against the exact sum, and constraints, failures and fidelities."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.core.streams import Draws
from mimar.evaluators import benchmarks
from mimar.objectives import Best
from mimar.schedulers import Asynchronous
from mimar.search.session import Session, Terms, best
from mimar.space import Architecture, Choice, Space
from mimar.strategies import Measurement, Proposal, Trial
from mimar.strategies.ascent import Adam, Baseline
from mimar.strategies.policies import Factorised
from mimar.strategies.recurrent import Recurrent
from mimar.strategies.reinforce import Reinforce
from mimar.strategies.rejection import Rejection
from mimar.strategies.replay import Replay
from mimar.testing import check_strategy

TWO = Space([Choice("a", ("x", "y")), Choice("b", ("x", "y", "z"))])
SMALL = Recurrent(hidden=4, layers=1, scale=0.5)


def trial(arch: Architecture, value: float = 0.0, status: str = "ok", **more: Any) -> Trial:
    fidelity = more.pop("fidelity", None)
    values = (value,) if status == "ok" else ()
    return Trial(Proposal(arch, fidelity), Measurement({}, status=status), values, **more)  # type: ignore[arg-type]


def reward(arch: Architecture) -> float:
    """Return a figure with an interaction: only y together with z is good."""
    return {"xx": 0.2, "xy": 0.3, "xz": 0.1, "yx": 0.0, "yy": 0.2, "yz": 1.0}[arch["a"] + arch["b"]]


@pytest.mark.parametrize(
    "part",
    [
        Reinforce(),
        Reinforce(batch=3, entropy=0.1, rejection=Rejection("fraction")),
        Reinforce(policy=SMALL, replay=Replay(batch=2)),
    ],
    ids=["plain", "batch", "memory"],
)
def test_it_keeps_the_laws_of_strategies(part: Reinforce) -> None:
    check_strategy(part)


@pytest.mark.parametrize(
    ("policy", "n"), [(Factorised(spread=0.8), 100_000), (Recurrent(hidden=3, layers=1, scale=0.8), 100_000)]
)
def test_gradient_of_the_sampler_is_the_exact_sum(policy: Any, n: int) -> None:
    sampler = policy.start(TWO, Draws(1))
    archs = list(TWO.enumerate())
    paid = np.array([reward(a) for a in archs])
    shares = np.exp(sampler.measure(archs)[0])
    baseline = 0.25
    exact = sampler.gradient(archs, lambda log: np.exp(log) * (paid - baseline))
    drawn = [d.architecture for d in sampler.draw(Draws(7), n)]
    counts = {a: 0 for a in archs}
    for arch in drawn:
        counts[arch] += 1
    weights = np.array([counts[a] for a in archs]) / n * (paid - baseline)
    sampled = sampler.gradient(archs, lambda _: weights)
    each = np.stack([sampler.gradient([a], lambda _, r=r: np.array([r - baseline])) for a, r in zip(archs, paid)])
    error = np.sqrt((shares @ (each - exact) ** 2) / n)
    assert np.all(np.abs(sampled - exact) <= 4.5 * error + 1e-12)
    assert np.abs(exact).max() > 20 * error.max()  # there is something to estimate


def test_one_step_by_hand() -> None:
    searcher = Reinforce(policy=Factorised(spread=0.0), lr=0.1, baseline=Baseline(0.5, "after")).start(TWO, 0)
    first, second = Architecture({"a": "x", "b": "y"}), Architecture({"a": "y", "b": "y"})
    searcher.tell([trial(first, 1.0)])
    assert not searcher.sampler.parameters.any()  # the first reward is its own baseline
    searcher.tell([trial(second, 3.0)])
    by_hand, adam = np.zeros(5), Adam(5, 0.1)
    adam.ascend(by_hand, np.zeros(5))
    adam.ascend(by_hand, 2.0 * np.array([-0.5, 0.5, -1 / 3, 2 / 3, -1 / 3]))
    assert np.allclose(searcher.sampler.parameters, by_hand, atol=1e-15)


def test_a_batch_takes_one_step_with_the_mean() -> None:
    archs = [Architecture({"a": "x", "b": "y"}), Architecture({"a": "y", "b": "z"})]
    part = Reinforce(policy=Factorised(spread=0.0), lr=0.1, batch=2, baseline=Baseline(0.0, "after"))
    searcher = part.start(TWO, 0)
    searcher.tell([trial(archs[0], 0.0)])
    assert searcher.adam.steps == 0 and len(searcher.waiting) == 1
    searcher.tell([trial(archs[1], 0.0), trial(archs[0], 1.0), trial(archs[1], 4.0)])
    # baseline 0: gradient (1·g_0 + 4·g_1) / 2
    slopes = [np.array([0.5, -0.5, -1 / 3, 2 / 3, -1 / 3]), np.array([-0.5, 0.5, -1 / 3, -1 / 3, 2 / 3])]
    by_hand, adam = np.zeros(5), Adam(5, 0.1)
    adam.ascend(by_hand, np.zeros(5))
    adam.ascend(by_hand, (slopes[0] + 4 * slopes[1]) / 2)
    assert np.allclose(searcher.sampler.parameters, by_hand, atol=1e-15)


def test_the_entropy_bonus_levels_a_law() -> None:
    kept = {}
    for entropy in (0.0, 1.0):
        searcher = Reinforce(policy=Factorised(spread=1.0), lr=0.05, entropy=entropy).start(TWO, 0)
        for _ in range(100):
            searcher.tell([trial(searcher.ask(1)[0].architecture, 0.5)])
        kept[entropy] = searcher.sampler.measure([Architecture({"a": "x", "b": "x"})])[1][0]
    assert kept[1.0] == pytest.approx(math.log(6), abs=1e-3) and kept[0.0] < 1.7


@pytest.mark.parametrize(("policy", "lr"), [(Factorised(), 0.05), (Recurrent(hidden=16, layers=1), 0.01)])
def test_it_finds_what_pays(policy: Any, lr: float) -> None:
    searcher = Reinforce(policy=policy, lr=lr).start(TWO, 0)
    for _ in range(250):
        (proposal,) = searcher.ask(1)
        searcher.tell([trial(proposal.architecture, reward(proposal.architecture))])
    assert searcher.answer() == Architecture({"a": "y", "b": "z"})
    assert math.exp(searcher.sampler.measure([searcher.answer()])[0][0]) > 0.9


def test_constraints_and_told_limits_are_never_proposed_and_never_learned_from() -> None:
    space = Space(TWO.choices, [lambda a: a["b"] != "z"])
    searcher = Reinforce(policy=Factorised(spread=0.0)).start(space, 0)
    searcher.tell([trial(Architecture({"a": "x", "b": b}), status="infeasible") for b in "xy"])
    assert not searcher.sampler.parameters.any() and searcher.adam.steps == 0
    asked = {p.architecture for p in searcher.ask(60)}
    assert asked == {Architecture({"a": "y", "b": "x"}), Architecture({"a": "y", "b": "y"})}


def test_failures_are_avoided() -> None:
    searcher = Reinforce(policy=Factorised(spread=0.0), lr=0.1).start(TWO, 0)
    for _ in range(200):
        (proposal,) = searcher.ask(1)
        bad = proposal.architecture["a"] == "x"
        searcher.tell([trial(proposal.architecture, 0.5, "timeout" if bad else "ok")])
    # one trial that is worse than 0.5 is needed for a failure to cost anything
    assert searcher.sampler.probabilities()["a"] == pytest.approx([0.5, 0.5], abs=1e-9)
    searcher.tell([trial(Architecture({"a": "y", "b": "x"}), 0.1)])
    for _ in range(200):
        (proposal,) = searcher.ask(1)
        bad = proposal.architecture["a"] == "x"
        searcher.tell([trial(proposal.architecture, 0.5, "timeout" if bad else "ok")])
    assert searcher.sampler.probabilities()["a"][0] < 0.1


def test_a_higher_fidelity_replaces_what_was_not_learned_yet() -> None:
    searcher = Reinforce(batch=2).start(TWO, 0)
    arch = Architecture({"a": "x", "b": "y"})
    searcher.tell([trial(arch, 0.2, fidelity=1.0)])
    searcher.tell([trial(arch, 0.6, fidelity=3.0, since=1.0)])
    assert [(p.reward, p.level) for p in searcher.waiting] == [(0.6, "3.0")] and searcher.adam.steps == 0


def test_replay_needs_a_policy_with_a_state() -> None:
    with pytest.raises(UsageError, match="state"):
        Reinforce(replay=Replay()).start(TWO, 0)


@pytest.mark.parametrize("part", [Reinforce(batch=2), Reinforce(policy=SMALL, replay=Replay(batch=2))])
def test_stopped_anywhere_it_goes_on_bit_for_bit(part: Reinforce) -> None:
    space = Space(TWO.choices, [lambda a: a["b"] != "z" or a["a"] == "y"])
    first = part.start(space, 3)
    for i in range(9):
        state = json.loads(json.dumps(first.state_dict()))
        second = part.start(space, 3)
        second.load_state_dict(state)
        for searcher in (first, second):
            (proposal,) = searcher.ask(1)
            searcher.tell([trial(proposal.architecture, reward(proposal.architecture) + i)])
        assert json.dumps(first.state_dict()) == json.dumps(second.state_dict())


def test_on_the_table_a_small_rate_helps_and_a_large_one_hurts(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    table = benchmarks.named("nasbench201")

    def late(lr: float) -> float:
        """Return the mean accuracy of the last 20 cells that 8 runs of 150 queries propose."""
        found = []
        for seed in range(8):
            terms = Terms(table, Best(), queries=150, seed=seed)
            session = Session(terms, Reinforce(lr=lr).start(table.space, seed), Asynchronous().start((), seed))
            while session.step() is not None:
                pass
            assert best(session.trials) is not None
            found += [t.values[0] for t in session.trials[-20:]]
        return float(np.mean(found))

    assert late(0.1) > late(1e-6) + 0.08
