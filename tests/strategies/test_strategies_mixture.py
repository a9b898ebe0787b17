"""Weights of scores: normalisation, what a weighting likes best, exploration and greed, any space."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.core.streams import Draws
from mimar.space import Architecture, Choice, Measurement, Proposal, Space, Trial
from mimar.strategies.mixture import Matern, MixtureSearcher, ScoreMixture, bound, ranking, scaled
from mimar.testing import check_strategy
from mimar.testing.strategy import small_space

SPACE = Space([Choice(f"c{i}", ("a", "b", "c")) for i in range(4)])
OPTIONS = {"a": 0.0, "b": 1.0, "c": 2.0}


class Sums:
    """Three scores: of the first two choices, of the others, and noise; `units` stretch and move them."""

    def __init__(self, stretch: float = 1.0, shift: float = 0.0, costly: bool = True) -> None:
        self.stretch, self.shift, self.costly, self.asked = stretch, shift, costly, 0

    def __call__(self, architectures: Sequence[Architecture]) -> np.ndarray:
        self.asked += len(architectures)
        rows = []
        for a in architectures:
            v = [OPTIONS.get(str(o), len(str(o))) for o in a.values()]
            rows.append([v[0] + 3 * v[1 % len(v)], v[-1], int(a.digest[:4], 16) / 65536])
        return np.array(rows).reshape(-1, 3) * self.stretch + self.shift


def truth(a: Architecture) -> float:
    return OPTIONS[a["c0"]] + 3 * OPTIONS[a["c1"]] - 2 * OPTIONS[a["c3"]]


def run(part: ScoreMixture, n: int, seed: int = 0, value: Any = truth) -> list[Proposal]:
    searcher, found = part.start(SPACE, seed), []
    for _ in range(n):
        (proposal,) = searcher.ask(1)
        found.append(proposal)
        searcher.tell([told(proposal, value)])
    return found


def told(proposal: Proposal, value: Any = truth) -> Trial:
    figure = value(proposal.architecture)
    if figure is None:
        return Trial(proposal, Measurement({}, status="failed"))
    return Trial(proposal, Measurement({"valid_accuracy": figure}), (figure,))


@pytest.mark.parametrize("candidates, costly", [(10, True), (500, False)])
def test_it_obeys_the_laws_of_strategies(candidates: int, costly: bool) -> None:
    check_strategy(ScoreMixture(Sums(costly=costly), steps=5, candidates=candidates), space=small_space())


def test_scores_are_scaled_to_the_unit_interval_whatever_their_units() -> None:
    raw = Sums()(list(SPACE.enumerate()))
    assert scaled(raw).min(0).tolist() == [0.0] * 3 and scaled(raw).max(0).tolist() == [1.0] * 3
    moved = raw * np.array([5.0, 0.1, 1e9]) + np.array([-3.0, 7.0, 1e12])
    assert np.allclose(scaled(moved), scaled(raw), atol=1e-6)


def test_what_is_not_finite_is_the_worst_and_a_constant_says_nothing() -> None:
    raw = np.array([[1.0, 2.0, np.nan], [np.inf, 2.0, np.nan], [3.0, 2.0, np.nan], [-np.inf, 2.0, np.nan]])
    assert scaled(raw).tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_one_weight_alone_ranks_as_its_score() -> None:
    raw = Sums()(list(SPACE.enumerate()))
    for i in range(3):
        unit = np.eye(3)[i]
        assert ranking(scaled(raw), unit) == np.argsort(-raw[:, i], kind="stable").tolist()
        reversed_values = raw[ranking(scaled(raw), -unit), i]
        assert (np.diff(reversed_values) >= 0).all()


def test_proposals_do_not_depend_on_units() -> None:
    plain, other = (run(ScoreMixture(Sums(*units), steps=6), 10) for units in ((), (4.0, -8.0)))  # exact in binary
    assert [p.architecture for p in plain] == [p.architecture for p in other]


def test_exploration_and_greed_make_different_queries() -> None:
    found = run(ScoreMixture(Sums(), steps=8), 20)
    ways = [p.meta["how"] for p in found]
    explored = ways.count("explore")
    assert len({p.architecture for p in found}) == 20 and 1 <= explored <= 8
    assert ways == ["explore"] * explored + ["exploit"] * (20 - explored)


def test_greed_goes_down_the_ranking_of_the_best_weights() -> None:
    searcher = ScoreMixture(Sums(), steps=4).start(SPACE, 1)
    for _ in range(12):
        (p,) = searcher.ask(1)
        searcher.tell([told(p)])
    values = {i: truth(searcher.pool[i]) for _, i in searcher.tried}
    best = next(w for w, i in searcher.tried if values[i] == max(values.values()))
    matrix = scaled(Sums()(searcher.pool))
    order = [searcher.pool[i] for i in ranking(matrix, np.array(best))]
    left = [a for a in order if a not in searcher.seen]
    assert searcher.ask(1)[0].architecture == left[0]


def test_it_finds_the_weights_that_matter() -> None:
    optimum = max(truth(a) for a in SPACE.enumerate())
    ours = [max(truth(p.architecture) for p in run(ScoreMixture(Sums(), steps=8), 10, seed)) for seed in range(8)]
    draws = Draws(0, "random")
    random = [max(truth(SPACE.sample(draws)) for _ in range(10)) for _ in range(200)]
    assert np.mean(ours) > np.mean(random) + 0.5 and ours.count(optimum) >= 6


def test_when_everything_is_measured_it_draws_from_the_space() -> None:
    found = run(ScoreMixture(Sums(), steps=3, candidates=5), 8)
    assert [p.meta["how"] for p in found][5:] == ["random"] * 3


def test_scores_are_computed_once_and_kept_where_they_are_costly() -> None:
    scores = Sums()
    part = ScoreMixture(scores, steps=3, candidates=20)
    searcher = part.start(SPACE, 0)
    assert scores.asked == 0
    searcher.tell([told(p) for p in searcher.ask(2)])
    state, asked = searcher.state_dict(), scores.asked
    again = part.start(SPACE, 0)
    again.load_state_dict(state)
    assert again.ask(3) == searcher.ask(3) and scores.asked == asked == 20
    assert ScoreMixture(Sums(costly=False)).start(SPACE, 0).state_dict()["scores"] is None


def test_failures_count_as_the_worst() -> None:
    found = run(ScoreMixture(Sums(), steps=6), 12, value=lambda a: None if a["c0"] == "c" else truth(a))
    assert len({p.architecture for p in found}) == 12
    run(ScoreMixture(Sums(), steps=6), 12, value=lambda a: None)


def test_pending_proposals_are_not_asked_again() -> None:
    asked = ScoreMixture(Sums(), steps=6).start(SPACE, 0).ask(15)
    assert len({p.architecture for p in asked}) == 15


def test_only_what_keeps_the_limits_is_a_candidate() -> None:
    searcher = ScoreMixture(Sums(), steps=3).start(SPACE, 0)
    searcher.inform(lambda a: {}, lambda a: a["c2"] == "a")
    assert all(p.architecture["c2"] == "a" for p in searcher.ask(9))


def test_several_objectives_are_ranked_by_their_front() -> None:
    searcher: MixtureSearcher = ScoreMixture(Sums(), steps=5).start(SPACE, 0)
    for _ in range(8):
        (p,) = searcher.ask(1)
        pair = (truth(p.architecture), -OPTIONS[p.architecture["c1"]])
        searcher.tell([Trial(p, Measurement({"a": pair[0], "b": pair[1]}), pair)])
    assert len(searcher.tried) == 5


def test_the_bound_is_that_of_a_gaussian_process() -> None:
    rng = np.random.default_rng(0)
    w, y = rng.uniform(-1, 1, (12, 2)), rng.normal(size=12)
    kernel = Matern()
    grams = kernel.fit(w)
    r = np.sqrt(5) * np.linalg.norm(w[:, None] - w[None], axis=2) / Matern.settings[4]
    assert np.allclose(grams[4], (1 + r + r**2 / 3) * np.exp(-r), atol=1e-6)
    mean, upper = bound(w, y, w, 0.0), bound(w, y, w, 2.0)
    assert (upper >= mean).all() and np.corrcoef(mean, y)[0, 1] > 0.5
    assert bound(w, y, np.array([[50.0, 50.0]]), 0.0)[0] == pytest.approx(y.mean(), abs=0.2)


def test_scores_that_are_only_described_are_refused() -> None:
    with pytest.raises(UsageError, match="bind"):
        ScoreMixture("synflow").start(SPACE, 0)


def test_bookkeeping_is_fast() -> None:
    begun = time.process_time()
    run(ScoreMixture(Sums(), steps=20), 40)
    assert time.process_time() - begun < 3.0
