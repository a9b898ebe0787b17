"""Policies: their laws sum to 1, their gradients are those of their log-probabilities, drawing follows the law."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.core.streams import Draws
from mimar.space import Architecture, Choice, Space
from mimar.strategies.policies import Factorised
from mimar.strategies.recurrent import Recurrent

LSTM = Recurrent(hidden=6, layers=2, scale=0.5)
SQUASHED = Recurrent(hidden=5, layers=1, scale=0.8, tanh_scale=1.1, temperature=2.5)
POLICIES = [Factorised(spread=0.7), LSTM, SQUASHED]


def conditional() -> Space:
    """Every discrete kind, priors, and a choice that is active under one option only: 3·2 + 3 = 9 architectures."""
    return Space(
        [
            Choice("op", ("conv", "pool"), prior=(3.0, 1.0)),
            Choice("inputs", ("0", "1", "2"), "some", 2, prior=(1.0, 2.0, 4.0)),
            Choice("kernel", (3, 5), "size", when=(("op", "conv"),)),
        ]
    )


def every(space: Space) -> list[Architecture]:
    return list(space.enumerate())


def logs(sampler: Any, archs: list[Architecture]) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = sampler.measure(archs)[0]
    return found


def numeric(sampler: Any, f: Any, step: float = 1e-6) -> np.ndarray[Any, Any]:
    """Return the central difference of f() in every parameter."""
    here = sampler.parameters.copy()
    slopes = []
    for i in range(len(here)):
        ends = []
        for sign in (1, -1):
            moved = here.copy()
            moved[i] += sign * step
            sampler.load(moved)
            ends.append(f())
        slopes.append((ends[0] - ends[1]) / (2 * step))
    sampler.load(here)
    return np.array(slopes)


@pytest.mark.parametrize("policy", POLICIES, ids=["factorised", "recurrent", "squashed"])
def test_probabilities_of_a_conditional_space_sum_to_one(policy: Any) -> None:
    space = conditional()
    sampler = policy.start(space, Draws(1))
    archs = every(space)
    assert len(archs) == space.size() == 9
    assert math.fsum(np.exp(logs(sampler, archs))) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("policy", POLICIES, ids=["factorised", "recurrent", "squashed"])
def test_a_draw_says_its_own_log_probability(policy: Any) -> None:
    sampler = policy.start(conditional(), Draws(1))
    drawn = sampler.draw(Draws(2), 40)
    measured = logs(sampler, [d.architecture for d in drawn])
    assert np.allclose([d.log_prob for d in drawn], measured, atol=1e-12)


@pytest.mark.parametrize("policy", POLICIES, ids=["factorised", "recurrent", "squashed"])
def test_draws_follow_the_law(policy: Any) -> None:
    space = conditional()
    sampler = policy.start(space, Draws(1))
    n = 20_000
    seen = Counter(d.architecture for d in sampler.draw(Draws(3), n))
    for arch, log in zip(every(space), logs(sampler, every(space)), strict=True):
        p = math.exp(log)
        assert abs(seen[arch] / n - p) < 4.5 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("policy", POLICIES, ids=["factorised", "recurrent", "squashed"])
def test_gradient_is_that_of_log_probabilities_and_entropies(policy: Any) -> None:
    space = conditional()
    sampler = policy.start(space, Draws(1))
    archs = every(space)[::2]
    weights, bonus = np.linspace(-1, 1, len(archs)), np.linspace(0.5, 0.1, len(archs))

    def total() -> float:
        log, way = sampler.measure(archs)
        return float(weights @ log + bonus @ way)

    found = sampler.gradient(archs, lambda _: weights, bonus.tolist())
    assert np.abs(found).max() > 0.01
    assert np.allclose(found, numeric(sampler, total), atol=1e-7)


@pytest.mark.parametrize("policy", POLICIES, ids=["factorised", "recurrent", "squashed"])
def test_weights_may_depend_on_the_log_probabilities_and_are_held_fixed(policy: Any) -> None:
    space = conditional()
    sampler = policy.start(space, Draws(1))
    archs = every(space)
    reward = np.arange(len(archs), dtype=float)
    # with weights P(a)·R(a), the sum is the exact gradient of E[R] = Σ P(a) R(a)
    exact = sampler.gradient(archs, lambda log: np.exp(log) * reward)
    assert np.allclose(exact, numeric(sampler, lambda: float(np.exp(logs(sampler, archs)) @ reward)), atol=1e-7)


@pytest.mark.parametrize("policy", POLICIES, ids=["factorised", "recurrent", "squashed"])
def test_mean_of_the_ways_entropies_is_the_entropy(policy: Any) -> None:
    space = conditional()
    sampler = policy.start(space, Draws(1))
    log, way = sampler.measure(every(space))
    assert float(np.exp(log) @ way) == pytest.approx(float(-np.exp(log) @ log), abs=1e-12)


@pytest.mark.parametrize("policy", POLICIES, ids=["factorised", "recurrent", "squashed"])
def test_a_law_survives_its_parameters_as_json_and_other_seeds_begin_elsewhere(policy: Any) -> None:
    space = conditional()
    first, second = policy.start(space, Draws(1)), policy.start(space, Draws(2))
    archs = every(space)
    assert not np.allclose(logs(first, archs), logs(second, archs))
    second.load(np.array(first.parameters.tolist()))
    assert np.array_equal(logs(first, archs), logs(second, archs))


@pytest.mark.parametrize("policy", [Factorised(spread=0.0), Recurrent(scale=1e-12)], ids=["factorised", "recurrent"])
def test_it_begins_at_the_priors(policy: Any) -> None:
    sampler = policy.start(conditional(), Draws(0))
    pair = Architecture({"op": "pool", "inputs": ("1", "2")})
    assert math.exp(logs(sampler, [pair])[0]) == pytest.approx(1 / 4 * (2 * 4) / (1 * 2 + 1 * 4 + 2 * 4), abs=1e-9)


@pytest.mark.parametrize(
    "policy", [Factorised(levels=4), Recurrent(hidden=3, levels=4)], ids=["factorised", "recurrent"]
)
def test_a_range_is_decided_in_equal_cells_and_drawn_uniformly_inside(policy: Any) -> None:
    space = Space([Choice("rate", (1e-4, 1.0), "value", log=True), Choice("op", ("a", "b"))])
    sampler = policy.start(space, Draws(0))
    values = [d.architecture["rate"] for d in sampler.draw(Draws(5), 800)]
    assert min(values) >= 1e-4 and max(values) <= 1.0 and len(set(values)) == 800
    assert Counter(int(4 * space["rate"].unit(v)) for v in values).keys() == {0, 1, 2, 3}
    ends = [Architecture({"rate": r, "op": "a"}) for r in (1.1e-4, 0.9e-3, 1.1e-3)]
    first, same, next_cell = logs(sampler, ends)
    assert first == same != next_cell
    cells = [Architecture({"rate": space["rate"].at((i + 0.5) / 4), "op": o}) for i in range(4) for o in "ab"]
    assert math.fsum(np.exp(logs(sampler, cells))) == pytest.approx(1.0, abs=1e-12)


def test_a_recurrent_decision_depends_on_those_before_it() -> None:
    space = Space([Choice("a", ("x", "y")), Choice("b", ("x", "y"))])
    sampler = Recurrent(hidden=8, scale=1.0).start(space, Draws(0))
    p = np.exp(logs(sampler, every(space))).reshape(2, 2)
    given = p / p.sum(1, keepdims=True)
    assert abs(given[0, 0] - given[1, 0]) > 0.01
    independent = np.exp(logs(Factorised(spread=1.0).start(space, Draws(0)), every(space))).reshape(2, 2)
    assert np.linalg.matrix_rank(independent, tol=1e-12) == 1


def test_log_probability_is_the_sum_over_the_tokens() -> None:
    space = Space([Choice("a", ("x", "y")), Choice("b", ("x", "y"), when=(("a", "y"),)), Choice("c", ("x", "y", "z"))])
    sampler: Any = LSTM.start(space, Draws(4))
    # the law of what is decided next, after a prefix, by summing over everything that begins with it
    table = {a: math.exp(log) for a, log in zip(every(space), logs(sampler, every(space)), strict=True)}
    arch = Architecture({"a": "y", "b": "x", "c": "z"})
    total, before = 0.0, table
    for name, value in arch.items():
        after = {a: p for a, p in before.items() if a[name] == value}
        total += math.log(math.fsum(after.values()) / math.fsum(before.values()))
        before = after
    assert logs(sampler, [arch])[0] == pytest.approx(total, abs=1e-12)


def test_a_choice_of_too_many_combinations_is_refused() -> None:
    space = Space([Choice("edges", tuple(str(i) for i in range(30)), "some", 15)])
    with pytest.raises(UsageError, match="combinations"):
        Factorised().start(space, Draws(0))
    with pytest.raises(UsageError, match="at least one choice"):
        Recurrent().start(Space([]), Draws(0))


def test_options_that_were_never_offered_have_no_column() -> None:
    space = Space([Choice("op", ("none", "conv", "pool"), never=("none",))])
    sampler = Factorised().start(space, Draws(0))
    assert len(sampler.parameters) == 2
    assert sampler.probabilities()["op"] == pytest.approx([0.5, 0.5], abs=0.01)
