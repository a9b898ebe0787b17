"""How much is lost by poison, on a table made up for it and on the real one; the guards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mimar.core.errors import SpaceError, UsageError
from mimar.evaluators import benchmarks
from mimar.evaluators.table import Table
from mimar.space import Choice, Space, nasbench201
from mimar.strategies import Evolution, Random
from mimar.study.poisoning import GUARDS, Row, losses, measure, poisoned


def table() -> Table:
    """A table of 256 architectures in which an option is worth its number and "none" nothing."""
    space = Space([Choice(f"e{i}", ("none", "a", "b", "c")) for i in range(4)])
    codes = np.indices((4,) * 4).reshape(4, -1).T
    good = codes.sum(1) / 12
    return Table.from_arrays(space, {"valid_accuracy": good}, codes=codes, final={"test_accuracy": good - 0.01})


def test_the_mean_of_random_search_falls_as_the_prior_says() -> None:
    rows = measure(table(), {"random": Random()}, copies=(0, 4, 12), queries=60, runs=20)
    for row in rows:  # an edge is worth (0 + 1 + 2 + 3) / 3 by its K + n options
        assert row.sampled == pytest.approx(4 * 6 / (4 + row.copies) / 12, abs=4 * 0.19 / np.sqrt(60 * 20))
    lost = losses(rows)
    assert lost["random", 0] == (0.0, 0.0)
    assert lost["random", 12][1] == pytest.approx(rows[0].sampled - rows[2].sampled)


def test_an_adaptive_strategy_loses_less_of_its_mean() -> None:
    rows = measure(table(), {"random": Random(), "evolution": Evolution(10, 5)}, copies=(0, 12), queries=60, runs=10)
    lost = losses(rows)
    assert 0 < lost["evolution", 12][1] < lost["random", 12][1]


def test_the_figures_are_those_of_the_runs() -> None:
    (row,) = measure(table(), {"random": Random()}, copies=(0,), queries=5, runs=1)
    searcher = Random().start(table().space, 0)
    values = [table().evaluate(p).metrics["valid_accuracy"] for p in searcher.ask(5)]
    assert row == Row("random", 0, "none", (pytest.approx(max(values) - 0.01),), (pytest.approx(np.mean(values)),))
    three = row._replace(tests=(0.1, 0.2, 0.6), means=(0.5, 0.5, 0.8))
    assert (row.runs, three.runs) == (1, 3) and (three.test, three.sampled) == (pytest.approx(0.3), pytest.approx(0.6))


def test_merging_restores_the_clean_search_exactly() -> None:
    strategies = {"random": Random(), "evolution": Evolution(10, 5)}
    clean = Table.from_arrays(
        nasbench201(),
        {"valid_accuracy": np.random.default_rng(0).uniform(size=15625)},
        final={"test_accuracy": np.zeros(15625)},
    )
    rows = measure(clean, strategies, copies=(0, 9), guard="merged", queries=25, runs=2)
    for name in strategies:
        one, two = (row for row in rows if row.strategy == name)
        assert one == two._replace(copies=0)


def test_guards_say_what_the_space_knows() -> None:
    sizes = {guard: poisoned(nasbench201(), "none", 3, guard).space["cell/0-1"].count for guard in GUARDS}
    assert sizes == {"none": 8, "canonical": 8, "merged": 5}
    assert poisoned(nasbench201(), "none", 3).space.structure is None
    assert poisoned(nasbench201(), "none", 0).space.choices == nasbench201().choices


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one run"):
        measure(table(), {"random": Random()}, runs=0)
    with pytest.raises(UsageError, match="canonical"):
        poisoned(table().space, "none", 1, "canon")  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="no choice"):
        measure(table(), {"random": Random()}, option="nothing", copies=(1,), runs=1)


def test_on_the_real_table_copies_of_none_cost_what_is_published(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    real = benchmarks.named("nasbench201:epochs=200")
    strategies = {"random": Random(), "evolution": Evolution(30, 10)}
    free, hit = (measure(real, strategies, copies=(0, 25), runs=8, guard=g) for g in ("merged", "none"))
    assert free[0] == free[2]._replace(copies=0) and free[1] == free[3]._replace(copies=0)
    assert 100 * hit[0].test == pytest.approx(93.8, abs=0.3) and 100 * hit[2].test == pytest.approx(92.1, abs=0.6)
    assert 100 * hit[0].sampled == pytest.approx(84, abs=2) and 100 * hit[2].sampled == pytest.approx(21, abs=3)
    lost = losses(hit)
    assert lost["evolution", 25][1] < 0.6 * lost["random", 25][1]
