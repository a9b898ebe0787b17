"""A learned partition: every architecture in one leaf, leaves in order, bounds by hand, and the search over them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.core.quantiles import quantiles
from mimar.core.streams import Draws
from mimar.predictors.columns import Columns
from mimar.space import Architecture, Choice, Measurement, Proposal, Space, Trial
from mimar.strategies import partition_tree
from mimar.strategies.partition_tree import PartitionSearcher, PartitionTree
from mimar.strategies.regions import Regions, bound, learned
from mimar.testing import check_strategy

BITS = Space([Choice(f"b{i}", ("0", "1")) for i in range(8)])
LARGE = Space([Choice(f"b{i}", ("0", "1", "2")) for i in range(20)])


def value(arch: Architecture) -> float:
    return float(sum(2**-i * int(v) for i, v in enumerate(arch.values())))


def told(arch: Architecture, figure: float | None = None, **more: object) -> Trial:
    return Trial(Proposal(arch), Measurement({"valid_accuracy": value(arch) if figure is None else figure}), **more)  # type: ignore[arg-type]


def run(searcher: PartitionSearcher, n: int, figure: Callable[[Architecture], float] = value) -> list[Proposal]:
    found = []
    for _ in range(n):
        (proposal,) = searcher.ask(1)
        searcher.tell([told(proposal.architecture, figure(proposal.architecture))])
        found.append(proposal)
    return found


# --- regions ------------------------------------------------------------------------------------------------------


def noisy_regions(height: int = 4) -> tuple[Regions, np.ndarray]:
    rng = np.random.default_rng(0)
    listed = list(BITS.enumerate())
    x = Columns(BITS)(listed)
    some = rng.choice(len(listed), 100, replace=False)
    y = np.asarray([value(listed[i]) for i in some]) + 0.5 * rng.standard_normal(100)
    return learned(x[some], y, height=height, fewest=5, ridge=1e-3), x


def test_every_architecture_is_in_exactly_one_leaf() -> None:
    regions, x = noisy_regions()
    leaves = regions.leaves(x)
    assert set(leaves.tolist()) <= set(regions.ordered()) and len(regions.ordered()) == len(regions.splits) + 1 > 8
    for row, leaf in zip(x, leaves.tolist(), strict=True):
        at = 1  # walked by hand
        while at in regions.splits:
            w, cut = regions.splits[at]
            at = 2 * at if row @ w > cut else 2 * at + 1
        assert at == leaf
    assert max(regions.ordered()) < 2**5


def test_leaf_means_do_not_rise_from_the_all_good_to_the_all_bad_leaf_on_a_linear_function() -> None:
    listed = list(BITS.enumerate())
    x, y = Columns(BITS)(listed), np.asarray([value(a) for a in listed])
    regions = learned(x, y, height=5, fewest=5, ridge=1e-9)
    leaves = regions.leaves(x)
    means = [float(y[leaves == leaf].mean()) for leaf in regions.ordered()]
    assert len(means) == 32
    assert all(a >= b for a, b in pairwise(means))


def test_a_split_is_the_least_squares_plane_at_the_mean() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
    w, cut = learned(x, y, height=1, fewest=5, ridge=1e-12).splits[1]
    design = np.c_[x, np.ones(40)]
    oracle = np.linalg.lstsq(design, y, rcond=None)[0]
    assert w == pytest.approx(oracle[:3], abs=1e-9)
    assert cut + oracle[3] == pytest.approx(y.mean())  # the mean prediction is the mean


def test_what_cannot_be_split_stays_a_leaf() -> None:
    x = np.eye(4)
    assert learned(x, np.ones(4), height=5, fewest=2, ridge=1e-3).splits == {}
    assert learned(x, np.arange(4.0), height=5, fewest=5, ridge=1e-3).splits == {}
    assert learned(np.ones((4, 2)), np.arange(4.0), height=5, fewest=2, ridge=1e-3).splits == {}
    assert set(learned(x, np.arange(4.0), height=1, fewest=2, ridge=1e-3).splits) == {1}
    with pytest.raises(UsageError, match="fewest"):
        PartitionTree(fewest=1)


# --- bounds -------------------------------------------------------------------------------------------------------


def planted(exploration: float) -> PartitionSearcher:
    """A searcher whose tree splits by the first bit; four results, two on each side, by hand."""
    searcher = PartitionTree(exploration=exploration, initial=1, refit=100, scale="value").start(BITS, 0)
    rows = [(1, 0, 0.9), (1, 1, 0.7), (0, 0, 0.5), (0, 1, 0.2)]
    searcher.tell(
        [told(Architecture({"b0": str(a), "b1": str(b), **{f"b{i}": "0" for i in range(2, 8)}}), v) for a, b, v in rows]
    )
    w = np.zeros(16)
    w[1] = 1.0
    searcher.regions, searcher.fitted, searcher.asked = Regions({1: (w, 0.5)}), 4, 4
    searcher._line_up()
    return searcher


def test_the_child_of_the_largest_upper_bound_is_taken() -> None:
    good, bad = (0.9 + 0.7) / 2, (0.5 + 0.2) / 2
    searcher = planted(0.1)
    number, mean = searcher._members([])
    assert number[1:4].tolist() == [4, 2, 2] and mean[2:4].tolist() == pytest.approx([good, bad])
    assert searcher._chosen([]) == 2
    waiting = [Architecture({"b0": "1", **{f"b{i}": "1" for i in range(1, 8)}})] * 6

    def bounds(c: float) -> list[float]:
        return [m + 2 * c * math.sqrt(2 * math.log(10) / n) for m, n in ((good, 8), (bad, 2))]

    for c in (0.1, 0.2, 0.3, 0.4, 0.5):  # six pending proposals are members of the good side without a figure
        better = 2 + int(np.argmax(bounds(c)))
        assert planted(c)._chosen(waiting) == better
    assert {2 + int(np.argmax(bounds(c))) for c in (0.1, 0.5)} == {2, 3}


def test_the_bound_by_hand_and_its_parent_is_the_node_above(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bound(0.5, 4.0, 9.0, 0.1) == pytest.approx(0.5 + 0.2 * math.sqrt(2 * math.log(9) / 4))
    assert bound(0.5, 0.0, 9.0, 0.1) == math.inf
    searcher = planted(0.5)
    w = np.zeros(16)
    w[3] = 1.0  # below the bad side, by the second bit
    searcher.regions = Regions({**searcher.regions.splits, 3: (w, 0.5)})  # type: ignore[union-attr]
    searcher._line_up()
    seen: list[tuple[float, ...]] = []

    def noted(*given: float) -> float:
        seen.append(given)
        return bound(*given)

    monkeypatch.setattr(partition_tree, "bound", noted)
    searcher._chosen([Architecture({"b0": "1", **{f"b{i}": "1" for i in range(1, 8)}})] * 9)
    assert [(n, above) for _, n, above, _ in seen] == [(11.0, 13.0), (2.0, 13.0), (1.0, 2.0), (1.0, 2.0)]


def test_a_region_in_which_nothing_is_left_is_not_entered() -> None:
    searcher = planted(0.0)
    asked = [searcher.ask(1)[0] for _ in range(252)]
    regions = [p.meta["region"] for p in asked]
    assert regions == [2] * 126 + [3] * 126
    assert len({p.architecture for p in asked}) == 252
    (more,) = searcher.ask(1)
    assert BITS.valid(more.architecture)


# --- the search ---------------------------------------------------------------------------------------------------


def test_it_begins_at_random_and_learns_every_refit_results() -> None:
    searcher = PartitionTree(initial=7, refit=5, fewest=2).start(BITS, 0)
    fits = []
    for i in range(25):
        (proposal,) = searcher.ask(1)
        assert (searcher.regions is None) == (i < 7) and bool(proposal.meta) == (i >= 7)
        fits.append(searcher.fitted)
        searcher.tell([told(proposal.architecture)])
    assert fits == [0] * 7 + [7] * 5 + [12] * 5 + [17] * 5 + [22] * 3


def test_nothing_is_measured_twice_and_the_best_of_a_linear_function_is_found() -> None:
    for seed in range(3):
        asked = [p.architecture for p in run(PartitionTree(initial=8, refit=5).start(BITS, seed), 60)]
        assert len(set(asked)) == 60
        assert max(map(value, asked)) == value(Architecture({f"b{i}": "1" for i in range(8)}))


def test_in_a_large_space_proposals_lie_in_the_region_and_improve() -> None:
    searcher = PartitionTree(initial=10, refit=10).start(LARGE, 0)
    assert searcher.listed == []
    proposals = run(searcher, 100)
    inside = 0
    for proposal in proposals[90:]:
        (leaf,) = searcher._leaves([proposal.architecture])
        inside += leaf == proposal.meta["region"]
    assert inside == 10
    early, late = ([value(p.architecture) for p in part] for part in (proposals[:10], proposals[-30:]))
    assert np.mean(late) > max(early)


def test_where_a_region_cannot_be_reached_the_nearest_is_proposed() -> None:
    searcher = PartitionTree(initial=2, refit=100, fewest=2).start(LARGE, 0)
    run(searcher, 4)
    w = np.zeros(60)
    searcher.regions = Regions({1: (np.r_[0.0, 1.0, w[2:]], 0.5), 2: (w, 1.0)})  # the good child of 2 is empty
    searcher._line_up()
    found = searcher._found_in(4)
    assert found["b0"] == "1" and LARGE.valid(found)


def test_ranks_make_it_blind_to_scale_and_outliers() -> None:
    one, two = (PartitionTree(initial=6, refit=5).start(BITS, 0) for _ in range(2))
    stretched = run(two, 40, lambda a: 1e6 * value(a) ** 3 - 5.0)
    assert [p.architecture for p in run(one, 40)] == [p.architecture for p in stretched]
    three = PartitionTree(initial=6, refit=5, scale="value").start(BITS, 0)
    assert [p.architecture for p in run(three, 40)] != [p.architecture for p in stretched]
    assert one._figures() == pytest.approx(quantiles([k.values[0] for k in one.past.known]))


def test_a_higher_fidelity_replaces_the_entry_and_failures_are_never_members() -> None:
    searcher = PartitionTree(initial=1).start(BITS, 0)
    arch, other = (BITS.sample(Draws(i, "test")) for i in range(2))
    searcher.tell([told(arch, 0.1), told(arch, 0.6, since=1.0), Trial(Proposal(other), Measurement({}, 0.0, "failed"))])
    assert [k.values for k in searcher.past.known] == [(0.6,)]
    assert other in searcher.seen


def test_it_continues_exactly_from_its_json() -> None:
    first = PartitionTree(initial=5, refit=4, fewest=2).start(BITS, 3)
    run(first, 17)
    first.ask(2)
    second = PartitionTree(initial=5, refit=4, fewest=2).start(BITS, 3)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [p.architecture for p in run(first, 30)] == [p.architecture for p in run(second, 30)]


def test_the_laws_of_strategies() -> None:
    check_strategy(PartitionTree(initial=3, refit=3, fewest=2))


def test_several_objectives_and_constraints() -> None:
    few = Space(BITS.choices, [lambda a: a["b0"] == "0"])
    searcher = PartitionTree(initial=4, refit=4, fewest=2).start(few, 0)
    for _ in range(40):
        (proposal,) = searcher.ask(1)
        arch = proposal.architecture
        assert arch["b0"] == "0"
        ones = float(sum(v == "1" for v in arch.values()))
        searcher.tell([Trial(proposal, Measurement({"a": 1.0}), (value(arch), -ones))])
    assert searcher.regions is not None and searcher.regions.splits


def test_on_the_real_table_it_beats_random_search(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    from mimar.evaluators import benchmarks

    table = benchmarks.named("nasbench201:epochs=200")

    def figure(arch: Architecture) -> float:
        return float(table.evaluate(Proposal(arch)).metrics["valid_accuracy"])

    tests = []
    for seed in range(4):
        asked = [p.architecture for p in run(PartitionTree().start(table.space, seed), 150, figure)]
        tests.append(100 * table.verdict(max(asked, key=figure))["test_accuracy"])
    assert np.mean(tests) > 94.15  # random search: 93.87 ± 0.26
