"""Tournament evolution: who lives, who dies, who is a parent."""

from __future__ import annotations

from typing import Any

import pytest

from mimar.core.errors import UsageError
from mimar.space import Architecture, Measurement, Proposal, Trial, nasbench201
from mimar.strategies import Cross, Evolution, Mutate
from mimar.testing import check_strategy

SPACE = nasbench201()


def told(proposal: Proposal, *values: float, status: Any = "ok", since: float | None = None) -> Trial:
    return Trial(proposal, Measurement({}, status=status), values, since=since)


@pytest.mark.parametrize("death", ["oldest", "worst", "none"])
@pytest.mark.parametrize("variation", [Mutate(), Mutate(3), Cross(0.5, 0.2)])
def test_it_keeps_the_laws(death: Any, variation: Any) -> None:
    check_strategy(Evolution(5, 2, death, variation))


def test_the_oldest_dies_however_good_it_is() -> None:
    searcher = Evolution(3, 2).start(SPACE, 0)
    first = searcher.ask(4)
    searcher.tell([told(p, v) for p, v in zip(first, (9.0, 1.0, 2.0, 0.5), strict=True)])
    assert [k.architecture for k in searcher.population] == [p.architecture for p in first[1:]]
    worst = Evolution(3, 2, "worst").start(SPACE, 0)
    worst.tell([told(p, v) for p, v in zip(first, (9.0, 1.0, 2.0, 0.5), strict=True)])
    assert [k.architecture for k in worst.population] == [p.architecture for p in first[:3]]
    everyone = Evolution(3, 2, "none").start(SPACE, 0)
    everyone.tell([told(p, 1.0) for p in first])
    assert len(everyone.population) == 4


def test_a_child_differs_from_the_best_of_its_tournament_in_one_decision() -> None:
    searcher = Evolution(4, 400).start(SPACE, 1)  # so many draws that everybody takes part
    first = searcher.ask(4)
    searcher.tell([told(p, float(i)) for i, p in enumerate(first)])
    for child in searcher.ask(20):
        assert child.parent == first[3].architecture.digest
        assert sum(child.architecture[n] != v for n, v in first[3].architecture.items()) == 1


def test_failures_never_live_and_a_higher_fidelity_replaces_the_lower() -> None:
    searcher = Evolution(4, 2).start(SPACE, 2)
    a, b, c = searcher.ask(3)
    searcher.tell([told(a, 0.1), told(b, status="failed"), told(c, float("nan"))])
    assert [k.architecture for k in searcher.population] == [a.architecture]
    searcher.tell([told(a, 0.7, since=12.0)])
    assert [k.values for k in searcher.population] == [(0.7,)]


def test_a_share_of_the_population_may_take_part() -> None:
    searcher = Evolution(2, 0.5, "none").start(SPACE, 3)
    assert len(searcher.ask(5)) == 5  # nothing was told: random ones
    with pytest.raises(UsageError, match="above 0"):
        Evolution(2, 0.0)


def test_several_objectives_are_won_by_the_front() -> None:
    searcher = Evolution(3, 300).start(SPACE, 4)
    first = searcher.ask(3)
    searcher.tell([told(first[0], 1.0, 1.0), told(first[1], 2.0, 2.0), told(first[2], 0.0, 1.0)])
    assert {p.parent for p in searcher.ask(10)} == {first[1].architecture.digest}
    assert isinstance(first[0].architecture, Architecture)
