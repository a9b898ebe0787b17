"""Local search: it climbs, it stops at optima, it never measures twice, and it begins anew."""

from __future__ import annotations

from mimar.space import Choice, Measurement, Space, Trial, nasbench201
from mimar.strategies import LocalSearch
from mimar.testing import check_strategy

SPACE = Space([Choice("a", tuple(range(8)), "size"), Choice("b", tuple(range(8)), "size")])


def value(arch: object) -> float:
    a, b = arch["a"], arch["b"]  # type: ignore[index]
    return -abs(a - 5) - abs(b - 2)


def climb(seed: int, queries: int) -> tuple[list[float], object]:
    searcher, seen = LocalSearch().start(SPACE, seed), []
    for _ in range(queries):
        (proposal,) = searcher.ask(1)
        seen.append(proposal.architecture)
        searcher.tell([Trial(proposal, Measurement({}), (value(proposal.architecture),))])
    assert len(set(seen)) == len(seen)
    return [value(a) for a in seen], searcher


def test_it_keeps_the_laws() -> None:
    check_strategy(LocalSearch())
    check_strategy(LocalSearch(starts=3))


def test_it_reaches_the_only_optimum_and_begins_anew() -> None:
    for seed in range(10):
        values, searcher = climb(seed, 60)
        assert max(values) == 0.0
        assert len(searcher.optima) >= 1  # type: ignore[attr-defined]


def test_the_best_of_several_starts_is_the_centre() -> None:
    searcher = LocalSearch(starts=4).start(nasbench201(), 0)
    starts = searcher.ask(4)
    assert all(p.parent is None for p in starts)
    searcher.tell([Trial(p, Measurement({}), (v,)) for p, v in zip(starts, (1.0, 3.0, 2.0, 0.0), strict=True)])
    assert {p.parent for p in searcher.ask(3)} == {starts[1].architecture.digest}


def test_a_better_neighbour_becomes_the_centre_at_once() -> None:
    searcher = LocalSearch().start(nasbench201(), 1)
    (first,) = searcher.ask(1)
    searcher.tell([Trial(first, Measurement({}), (1.0,))])
    worse, better = searcher.ask(2)
    searcher.tell([Trial(worse, Measurement({}), (0.5,)), Trial(better, Measurement({}), (2.0,))])
    assert {p.parent for p in searcher.ask(3)} == {better.architecture.digest}
    failed = searcher.ask(1)[0]
    searcher.tell([Trial(failed, Measurement({}, status="failed"))])
    assert searcher.ask(1)[0].parent == better.architecture.digest
