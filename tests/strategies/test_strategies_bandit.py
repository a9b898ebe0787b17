"""Bandits that decide together: arms, indices and products by hand, separable rewards solved, no pulling in step."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimar.core.quantiles import quantiles
from mimar.core.streams import Draws
from mimar.space import Architecture, Choice, Measurement, Proposal, Space, Trial
from mimar.strategies.arms import arm, arms, pulled
from mimar.strategies.bandit import Bandits, BanditSearcher
from mimar.testing import check_strategy
from mimar.testing.strategy import small_space

CHOICES, OPTIONS = 6, 4
GRID = Space([Choice(f"d{i}", tuple(map(str, range(OPTIONS)))) for i in range(CHOICES)])
REWARD = np.random.default_rng(7).permuted(np.tile([0.0, 0.2, 0.4, 0.9], (CHOICES, 1)), axis=1)
BEST = Architecture({f"d{i}": str(int(REWARD[i].argmax())) for i in range(CHOICES)})


def reward(arch: Mapping[str, Any]) -> float:
    return float(sum(REWARD[i, int(arch[f"d{i}"])] for i in range(CHOICES)))


def told(arch: Architecture, figure: float, status: Any = "ok") -> Trial:
    return Trial(Proposal(arch), Measurement({"valid_accuracy": figure} if status == "ok" else {}, 0.0, status))


def run(searcher: BanditSearcher, n: int, noise: float = 0.0, seed: int = 0) -> list[Architecture]:
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        (proposal,) = searcher.ask(1)
        found.append(proposal.architecture)
        searcher.tell([told(found[-1], reward(found[-1]) + noise * rng.standard_normal())])
    return found


# --- arms ---------------------------------------------------------------------------------------------------------

KINDS = [
    Choice("one", ("a", "b", "c")),
    Choice("size", (3, 5, 7, 9), "size"),
    Choice("some", ("0", "1", "2", "3"), "some", 2),
    Choice("many", tuple(map(str, range(14))), "some", 5),  # 2,002 combinations
    Choice("value", (1e-4, 1e-1), "value", log=True),
]


@pytest.mark.parametrize("choice", KINDS, ids=lambda c: c.name)
def test_every_value_belongs_to_one_arm(choice: Choice) -> None:
    assert arms(choice) == {"one": 3, "size": 4, "some": 6, "many": 64, "value": 10}[choice.name]
    for number, place in itertools.product(range(arms(choice)), (0.01, 0.5, 0.99)):
        value = pulled(choice, number, place)
        assert choice.problem(value) is None
        assert abs(arm(choice, value) - number) <= (choice.name == "many")  # an outcome may lie across two parts
    if choice.count <= 64:
        assert [pulled(choice, i) for i in range(arms(choice))] == list(choice.outcomes)
        assert [arm(choice, v) for v in choice.outcomes] == list(range(arms(choice)))


def test_means_and_pulls_by_hand() -> None:
    space = small_space()  # op, width, inputs, and kernel where op is conv
    searcher = Bandits(initial=1, scale="value").start(space, 0)
    rest = {"width": 8, "inputs": ("0", "1")}
    searcher.tell(
        [
            told(Architecture({"op": "conv", "kernel": "5", **rest}), 0.9),
            told(Architecture({"op": "pool", **rest}), 0.4),
        ]
    )
    searcher.tell(
        [
            told(Architecture({"op": "conv", "kernel": "3", **rest}), 0.7),
            told(Architecture({"op": "skip", **rest}), 0, "failed"),
        ]
    )
    mean, pulls = searcher.standing()
    at = searcher.first
    assert pulls[at["op"] : at["op"] + 3].tolist() == [2, 1, 1] and pulls[at["kernel"] : at["kernel"] + 2].tolist() == [
        1,
        1,
    ]
    assert mean[at["op"] : at["op"] + 3].tolist() == pytest.approx([0.8, 0.4, 0.4])  # what failed is paid the least
    assert mean[at["kernel"] : at["kernel"] + 2].tolist() == pytest.approx([0.7, 0.9])
    assert pulls[at["width"]] == 4 and mean[at["width"]] == pytest.approx((0.9 + 0.4 + 0.7 + 0.4) / 4)
    ranked = Bandits(initial=1).start(space, 0)
    ranked.load_state_dict(searcher.state_dict())
    worst_to_best = quantiles([0.9, 0.4, 0.7, -math.inf])
    assert ranked.standing()[0][at["op"]] == pytest.approx((worst_to_best[0] + worst_to_best[2]) / 2)


def test_the_index_is_the_upper_confidence_bound() -> None:
    searcher = Bandits(initial=1, scale="value", exploration=0.7, decay=0.9).start(GRID, 0)
    base = {f"d{i}": "0" for i in range(CHOICES)}
    searcher.tell([told(Architecture({**base, "d0": str(k)}), v) for k, v in ((0, 0.2), (0, 0.4), (1, 0.9))])
    mean, bonus = searcher.bounds()
    full = 0.7 * 0.9**3 * math.sqrt(2 * math.log(3))
    assert mean[:2].tolist() == pytest.approx([0.3, 0.9]) and bonus[:2].tolist() == pytest.approx(
        [full / math.sqrt(2), full]
    )
    assert (mean[2:OPTIONS] > 0.9 + full).all()  # never pulled
    drawn = [searcher._indices() for _ in range(200)]
    z = np.array(
        [[(i["d0"][0] - 0.3) / bonus[0], (i["d0"][1] - 0.9) / bonus[1], (i["d1"][0] - 0.5) / bonus[4]] for i in drawn]
    )
    assert z[:, 0] == pytest.approx(z[:, 1]) and 0 <= z.min() and 0.95 < z.max() <= 1.0 + 1e-9
    assert abs(np.corrcoef(z[:, 0], z[:, 2])[0, 1]) < 0.2  # each decision has its own


# --- products -----------------------------------------------------------------------------------------------------


def test_the_best_products_are_those_of_an_exhaustive_search() -> None:
    searcher = Bandits().start(GRID, 0)
    index = {f"d{i}": REWARD[i] for i in range(CHOICES)}
    found = [reward(a) for a in searcher._products(index, 50)]
    exact = sorted((reward(a) for a in GRID.enumerate()), reverse=True)[:50]
    assert found == pytest.approx(exact)


def test_inactive_decisions_add_nothing_and_constraints_hold() -> None:
    space = Space(small_space().choices, [lambda a: a["width"] != 64])
    searcher = Bandits().start(space, 0)
    index = {
        "op": np.array([0.5, 0.4, 0.0]),
        "width": np.arange(4.0),
        "inputs": np.zeros(3),
        "kernel": np.array([0.0, 3.0]),
    }
    found = list(searcher._products(index, 1000))
    assert set(found) == set(space.enumerate())
    centred = {name: values - values.mean() for name, values in index.items()}

    def total(a: Architecture) -> float:
        return sum(float(centred[n][arm(space[n], v)]) for n, v in a.items())

    totals = [total(a) for a in found]
    assert totals == pytest.approx(sorted(totals, reverse=True))
    assert {**found[0], "inputs": ()} == {"op": "conv", "kernel": "5", "width": 32, "inputs": ()}


def test_products_are_equal_to_chance_where_indices_are() -> None:
    searcher = Bandits().start(GRID, 0)
    index = {f"d{i}": np.zeros(OPTIONS) for i in range(CHOICES)}
    firsts = {next(searcher._products(index, 16)) for _ in range(30)}
    assert len(firsts) > 20


# --- a separable reward -------------------------------------------------------------------------------------------


def test_local_means_converge_to_the_rewards_and_a_constant() -> None:
    searcher, rng, draws = Bandits(scale="value").start(GRID, 0), np.random.default_rng(0), Draws(0, "test")
    drawn = [GRID.sample(draws) for _ in range(4000)]
    searcher.tell([told(a, reward(a) + 0.3 * rng.standard_normal()) for a in drawn])
    mean = searcher.standing()[0].reshape(CHOICES, OPTIONS)
    centred = mean - mean.mean(1, keepdims=True)
    assert np.abs(centred - (REWARD - REWARD.mean(1, keepdims=True))).max() < 0.11  # 4 standard errors of 0.028
    assert searcher.greedy() == BEST


@pytest.mark.parametrize(
    "part", [{"greedy": 0.0}, {"local": 0.0, "greedy": 0.0, "exploration": 1.0}], ids=["epsilon", "confidence"]
)
def test_the_greedy_product_is_optimal_after_a_few_pulls_an_arm(part: dict[str, Any]) -> None:
    pulls, hits = 400, 0  # 3 Σ K log t; the space has 4,096 products
    for seed in range(8):
        searcher = Bandits(repeat=True, **part).start(GRID, seed)
        run(searcher, pulls, noise=0.1, seed=seed)
        hits += searcher.greedy() == BEST
    assert hits >= 7


def test_without_repetition_the_best_of_a_separable_reward_is_found_soon() -> None:
    for seed in range(5):
        found = run(Bandits().start(GRID, seed), 120)
        assert len(set(found)) == 120
        assert BEST in found


# --- in step ------------------------------------------------------------------------------------------------------


def locked(pulls: int) -> list[tuple[int, ...]]:
    """Independent deterministic upper confidence bounds, one a decision, all paid the same: the trap."""
    n, total, found = np.zeros((CHOICES, OPTIONS)), np.zeros((CHOICES, OPTIONS)), []
    for t in range(pulls):
        index = np.where(
            n > 0, total / np.maximum(n, 1) + 0.3 * np.sqrt(2 * math.log(max(t, 1)) / np.maximum(n, 1)), np.inf
        )
        pick = index.argmax(1)
        found.append(tuple(pick.tolist()))
        y = reward({f"d{i}": str(k) for i, k in enumerate(pick)})
        n[range(CHOICES), pick] += 1
        total[range(CHOICES), pick] += y
    return found


def test_decisions_do_not_pull_in_step() -> None:
    assert len(set(locked(100))) <= OPTIONS  # the trap is there
    for seed in range(3):
        searcher = Bandits(local=0.0, greedy=0.0, exploration=0.6, repeat=True).start(GRID, seed)
        found = run(searcher, 100)
        assert len(set(found[10:])) > 5 * OPTIONS
        columns = np.array([[int(v) for v in a.values()] for a in found])
        moved = (columns[1:] != columns[:-1]).mean(0)
        together = [
            ((columns[1:, i] != columns[:-1, i]) == (columns[1:, j] != columns[:-1, j])).mean()
            for i, j in [(0, 1), (2, 4)]
        ]
        assert max(together) < 0.95 and moved.max() > 0


# --- the search ---------------------------------------------------------------------------------------------------


def test_a_space_that_is_used_up_goes_on() -> None:
    tiny = Space([Choice("a", ("0", "1")), Choice("b", ("0", "1"))])
    searcher = Bandits(initial=2).start(tiny, 0)
    found = []
    for _ in range(8):
        (proposal,) = searcher.ask(1)
        found.append(proposal.architecture)
        searcher.tell([told(found[-1], float(found[-1]["a"]))])
    assert len(set(found[:4])) == 4 and all(tiny.valid(a) for a in found)


def test_it_continues_exactly_from_its_json() -> None:
    first, second = (Bandits(initial=4, exploration=0.1).start(GRID, 5) for _ in range(2))
    run(first, 23)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert run(first, 20) == run(second, 20)


def test_several_objectives() -> None:
    searcher = Bandits(initial=5).start(GRID, 0)
    for _ in range(40):
        (proposal,) = searcher.ask(1)
        low = float(proposal.architecture["d0"] == "0")
        searcher.tell([Trial(proposal, Measurement({"a": 1.0}), (reward(proposal.architecture), low))])
    mean, _ = searcher.standing()
    assert mean[0] > mean[1:OPTIONS].max()  # the first option of d0 is on the front whatever else


def test_the_laws_of_strategies() -> None:
    mixed = Space([*KINDS[3:], Choice("op", ("a", "b")), Choice("deep", (1, 2), "size", when=(("op", "a"),))])
    check_strategy(Bandits(initial=3))
    check_strategy(Bandits(initial=2, local=0.0, greedy=0.0, exploration=0.3, repeat=True), space=mixed)


def test_on_the_real_table_it_beats_random_search(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    from mimar.evaluators import benchmarks

    table, tests = benchmarks.named("nasbench201:epochs=200"), []
    for seed in range(6):
        searcher, values = Bandits().start(table.space, seed), {}
        for _ in range(150):
            (proposal,) = searcher.ask(1)
            values[proposal.architecture] = table.evaluate(proposal).metrics["valid_accuracy"]
            searcher.tell([told(proposal.architecture, values[proposal.architecture])])
        tests.append(100 * table.verdict(max(values, key=values.__getitem__))["test_accuracy"])
    assert np.mean(tests) > 94.1  # random search: 93.87 ± 0.26


def test_draws_are_its_own() -> None:
    assert Bandits().start(GRID, 0).ask(5) == Bandits().start(GRID, 0).ask(5) != Bandits().start(GRID, 1).ask(5)
    assert Draws(0, "bandits").key == Bandits().start(GRID, 0).draws.key
