"""Progressive search: its draws, its stages, its beam against one written out, what its predictor is given."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mimar.core.streams import Draws
from mimar.predictors.sequence import Sequences
from mimar.space import Architecture, Choice, Measurement, Proposal, Space, Trial, darts, nasbench201
from mimar.space.pairs import pair_cells
from mimar.space.transforms import NEUTRAL, Grow
from mimar.strategies.progressive import Progressive, ProgressiveSearcher, Stages, drawn
from mimar.testing import check_strategy

OPTIONS = ("skip", "a", "b", "c")
CHAIN = Space([Choice(f"layer{i}", OPTIONS) for i in range(5)])
WEIGHTS = np.random.default_rng(3).uniform(size=(5, 4))


def worth(arch: Architecture) -> float:
    """A separable figure, so that the best prefix begins the best chain."""
    return float(sum(WEIGHTS[int(n[-1]), OPTIONS.index(v)] for n, v in arch.items()))


def whole(prefix: Sequence[str]) -> Architecture:
    return Architecture({f"layer{i}": (*prefix, *["skip"] * 5)[i] for i in range(5)})


@dataclass(frozen=True)
class Oracle:
    """A predictor that knows the figures, and notes what it was given."""

    given: list[Any] = field(default_factory=list, hash=False)

    def start(self, space: Space, seed: int) -> Oracle:
        return self

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        self.given.append((list(architectures), list(y)))

    def predict(self, architectures: Sequence[Architecture]) -> tuple[Any, Any]:
        self.given.append(list(architectures))
        found = np.array([worth(whole(list(a.values()))) for a in architectures])
        return found, 0 * found


def run(searcher: ProgressiveSearcher, n: int, figure: Callable[[Architecture], float] = worth) -> list[Proposal]:
    found = []
    for _ in range(n):
        (proposal,) = searcher.ask(1)
        searcher.tell([Trial(proposal, Measurement({"valid_accuracy": figure(proposal.architecture)}))])
        found.append(proposal)
    return found


# --- the draw -----------------------------------------------------------------------------------------------------


def test_at_temperature_zero_the_best_are_taken() -> None:
    scores = [0.3, 0.9, 0.1, 0.9, 0.5]
    assert drawn(scores, 3, 0.0, Draws(0, "test")) == [1, 3, 4]
    assert all(sorted(drawn(scores, 3, 1e-6, Draws(i, "test"))) == [1, 3, 4] for i in range(50))
    assert drawn(scores, 9, 0.0, Draws(0, "test")) == [1, 3, 4, 0, 2]


def test_at_a_high_temperature_the_draw_is_uniform() -> None:
    scores, draws, n = [0.0, 0.2, 0.5, 0.7, 1.0], Draws(1, "test"), 4000
    pairs = Counter(frozenset(drawn(scores, 2, 1e6, draws)) for _ in range(n))
    assert len(pairs) == 10
    assert stats.chisquare(list(pairs.values())).pvalue > 0.01


def test_the_draw_is_the_softmax_without_replacement() -> None:
    scores, draws, n, t = [0.0, 0.3, 1.0], Draws(2, "test"), 6000, 0.5
    p = np.exp(np.array(scores) / t)
    p /= p.sum()
    orders = Counter(tuple(drawn(scores, 2, t, draws)) for _ in range(n))
    expected = {(i, j): p[i] * p[j] / (1 - p[i]) for i, j in itertools.permutations(range(3), 2)}
    assert stats.chisquare([orders[k] for k in expected], [n * e for e in expected.values()]).pvalue > 0.01


# --- prefixes -----------------------------------------------------------------------------------------------------


def test_the_shortest_prefix_leaves_out_what_is_neutral_at_the_end() -> None:
    stages = Stages(CHAIN, 1, NEUTRAL)
    assert list(stages.shortest(whole("ab")).values()) == ["a", "b"]
    assert list(stages.shortest(whole(("skip", "a", "skip"))).values()) == ["skip", "a"]
    assert dict(stages.shortest(whole(()))) == {}
    assert list(stages.shortest(whole("ab"), 4).values()) == ["a", "b"]
    for arch in CHAIN.enumerate():
        assert stages.whole(stages.shortest(arch)) == arch


@pytest.mark.parametrize(
    ("space", "span"), [(CHAIN, 1), (CHAIN, 2), (nasbench201(), 1), (darts(), 1), (pair_cells(3), 4)]
)
def test_extensions_are_all_prefixes_one_block_longer(space: Space, span: int) -> None:
    stages, draws = Stages(space, span, NEUTRAL), Draws(0, "test")
    one = list(stages.extensions([Architecture({})], 1, 10**6, draws))
    groups = math.ceil(len(Stages(space, 1, NEUTRAL)) / span)
    assert len(stages) == groups
    assert set(one) == set(Grow(span)(space).space.enumerate()) and len(one) == len(set(one))
    two = list(stages.extensions(one[:3], 2, 10**6, draws))
    beginnings = {Architecture({n: a[n] for n in stages.prefixes[1].names if n in a}) for a in two}
    assert beginnings == set(one[:3]) and len(set(two)) == len(two)
    some = list(stages.extensions(one[:3], 2, 7, draws))
    assert len(some) == 7 and set(some) <= set(two)


def test_cells_of_one_block_are_measured_once_a_class() -> None:
    searcher = Progressive(beam=5, span=4, predictor=Sequences(steps=2)).start(pair_cells(2), 0)
    first = run(searcher, 136, lambda a: float(int(a.digest[:4], 16)))
    space = pair_cells(2)
    assert len({space.canonical(p.architecture) for p in first}) == 136
    assert all(p.architecture["cell/block1/op1"] == "skip_connect" and p.meta["stage"] == 1 for p in first)
    (then,) = run(searcher, 1, lambda a: 0.0)
    assert then.meta["stage"] == 2


# --- the beam -----------------------------------------------------------------------------------------------------


def by_hand(beam: int) -> list[set[Architecture]]:
    """The stages of a beam search on CHAIN with a perfect predictor, written out."""
    kept: list[tuple[str, ...]] = [()]
    measured: set[Architecture] = set()
    found = []
    for b in range(1, 6):
        candidates = [(*p, o) for p in kept for o in OPTIONS]
        fresh = sorted((c for c in candidates if whole(c) not in measured), key=lambda c: -worth(whole(c)))
        fresh = fresh if b == 1 else fresh[:beam]
        found.append({whole(c) for c in fresh})
        known = [c for c in candidates if whole(c) in measured]
        measured |= found[-1]
        kept = sorted([*fresh, *known], key=lambda c: -worth(whole(c)))[:beam]
    return found


@pytest.mark.parametrize("beam", [1, 3, 6])
def test_the_stages_are_those_of_a_beam_search_written_out(beam: int) -> None:
    stages = by_hand(beam)
    proposals = run(Progressive(beam=beam, predictor=Oracle()).start(CHAIN, 0), sum(map(len, stages)))
    for b, expected in enumerate(stages, start=1):
        assert {p.architecture for p in proposals if p.meta["stage"] == b} == expected
    assert max(worth(a) for a in CHAIN.enumerate()) == max(worth(p.architecture) for p in proposals)


def test_a_parent_is_the_prefix_that_was_extended() -> None:
    proposals = run(Progressive(beam=3, predictor=Oracle()).start(CHAIN, 0), 16)
    known = {p.architecture.digest: p.architecture for p in proposals} | {whole(()).digest: whole(())}
    assert all(p.parent is None for p in proposals if p.meta["stage"] == 1)
    for p in proposals:
        if p.parent is not None:
            parent, b = known[p.parent], p.meta["stage"]
            assert list(parent.values())[: b - 1] == list(p.architecture.values())[: b - 1]


def test_the_predictor_is_given_prefixes_or_wholes_and_ranks() -> None:
    for reads in ("prefixes", "wholes"):
        oracle = Oracle()
        run(Progressive(beam=4, predictor=oracle, reads=reads).start(CHAIN, 0), 12)  # type: ignore[arg-type]
        architectures, y = oracle.given[0]
        candidates = oracle.given[1]
        assert len(architectures) == 4 and sorted(y) == pytest.approx([0, 1 / 3, 2 / 3, 1])
        lengths = {len(a) for a in candidates}
        assert lengths == ({2} if reads == "prefixes" else {5})
        assert {len(a) for a in architectures} == ({0, 1} if reads == "prefixes" else {5})


@pytest.mark.parametrize("then", ["last", "first"])
def test_after_the_last_stage_it_goes_on_until_nothing_is_left(then: Any) -> None:
    small = Space(CHAIN.choices[:3])
    searcher = Progressive(beam=2, predictor=Oracle(), then=then).start(small, 0)
    proposals = run(searcher, 64)
    assert len({p.architecture for p in proposals[:30]}) == 30
    stages = [p.meta.get("stage") for p in proposals[:14]]
    assert stages[:8] == [1] * 4 + [2] * 2 + [3] * 2
    assert stages[8:12] == ([3, 3, 3, 3] if then == "last" else [2, 2, 3, 3])
    assert small.valid(searcher.ask(1)[0].architecture)


def test_no_class_is_measured_twice() -> None:
    space = nasbench201()
    searcher = Progressive(beam=8, predictor=Sequences(steps=3)).start(space, 0)
    proposals = run(searcher, 60, lambda a: float(int(a.digest[:4], 16)))
    assert len({space.canonical(p.architecture) for p in proposals}) == 60


def test_a_prefix_that_breaks_a_constraint_is_extended_and_not_measured() -> None:
    two = Space(CHAIN.choices, [lambda a: sum(v != "skip" for v in a.values()) >= 2])
    proposals = run(Progressive(beam=4, predictor=Oracle()).start(two, 0), 20)
    assert all(two.valid(p.architecture) for p in proposals)
    assert len({p.architecture for p in proposals}) == 20
    assert proposals[0].meta["stage"] == 2  # nothing of one block can be measured


def test_cooling_and_temperature_change_the_draw() -> None:
    def second(part: Progressive) -> list[Architecture]:
        return [p.architecture for p in run(part.start(CHAIN, 0), 30)]

    plain = second(Progressive(beam=3, predictor=Oracle()))
    assert plain == second(Progressive(beam=3, predictor=Oracle(), temperature=1e-9))
    warm = second(Progressive(beam=3, predictor=Oracle(), temperature=1.0))
    cooled = second(Progressive(beam=3, predictor=Oracle(), temperature=1.0, cooling=0.01))
    assert warm != plain and cooled != warm and cooled[:7] == warm[:7]


# --- the search ---------------------------------------------------------------------------------------------------


def test_it_continues_exactly_from_its_json() -> None:
    part = Progressive(beam=4, temperature=0.3, then="first", predictor=Sequences(steps=3))
    first, second = (part.start(nasbench201(), 2) for _ in range(2))
    figure = lambda a: float(int(a.digest[:4], 16))
    run(first, 17, figure)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [p.architecture for p in run(first, 15, figure)] == [p.architecture for p in run(second, 15, figure)]


def test_asked_for_all_at_once_it_still_proposes() -> None:
    searcher = Progressive(beam=4, predictor=Sequences(steps=3)).start(nasbench201(), 0)
    proposals = searcher.ask(60)
    assert len({p.architecture for p in proposals}) == 60
    searcher.tell([Trial(p, Measurement({}, 0.0, "failed")) for p in proposals])
    assert len(searcher.ask(3)) == 3


def test_the_laws_of_strategies() -> None:
    check_strategy(Progressive(beam=2, first=3, predictor=Sequences(steps=3)))
    mixed = Space(
        [Choice("lr", (0.1, 1.0), "value"), Choice("many", tuple("abcdefghijkl"), "some", 5), CHAIN.choices[0]]
    )
    check_strategy(
        Progressive(beam=2, first=3, temperature=0.3, then="first", predictor=Sequences(steps=3)), space=mixed
    )


def test_several_objectives() -> None:
    searcher = Progressive(beam=3, predictor=Sequences(steps=20)).start(CHAIN, 0)
    for _ in range(25):
        (proposal,) = searcher.ask(1)
        skips = float(sum(v == "skip" for v in proposal.architecture.values()))
        searcher.tell([Trial(proposal, Measurement({"a": 1.0}), (worth(proposal.architecture), skips))])
    assert len(searcher.past) == 25


def test_a_growing_benchmark(needs_data: Callable[[str], Path]) -> None:
    with np.load(needs_data("nas/nasbench_macro.npz"), allow_pickle=False) as held:
        figures = dict(zip(map(tuple, held["arch"].tolist()), held["acc"].mean(1).tolist(), strict=True))
    space = Space([Choice(f"layer{i}", ("identity", "mbconv3", "mbconv5")) for i in range(8)])

    def figure(arch: Architecture) -> float:
        return figures[tuple(space[n].options.index(v) for n, v in arch.items())]

    top = float(np.quantile(list(figures.values()), 0.99))
    needed = []
    for seed in range(3):
        proposals = run(Progressive(beam=16).start(space, seed), 100, figure)
        needed.append(next(i for i, p in enumerate(proposals, start=1) if figure(p.architecture) >= top))
    assert max(needed) < 90  # random search needs 100 on average
    draws = Draws(0, "test")
    known = [a for b in (1, 2, 3) for a in (Grow(b)(space).space.sample(draws) for _ in range(20))]
    model = Sequences().start(space, 0)
    stages = Stages(space, 1, NEUTRAL)
    model.fit(known, [figure(stages.whole(a)) for a in known])
    longer = list(Grow(4)(space).space.enumerate())
    assert stats.spearmanr(model.predict(longer)[0], [figure(stages.whole(a)) for a in longer])[0] > 0.3
