"""Scores of a space as a table: what is not finite, canonical cells for all, from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mimar.evaluators.table import Table
from mimar.space import Proposal, nasbench201
from mimar.study import proxies
from mimar.study.proxies import scores


def test_figures_that_are_not_finite_become_the_worst_of_their_column() -> None:
    space = nasbench201()
    none = next(a for a in space.enumerate() if set(a.values()) == {"none"})
    cells = [none, *(space.sample(i) for i in range(3))]
    net = "nasbench201:cells=1,channels=2"
    table = scores(("jacob_cov", "ntk"), architectures=cells, net=net, shape=(3, 8, 8), batch=4)
    for measure in table.measures:
        column = [table.evaluate(Proposal(a)).metrics[measure.name] for a in cells]
        worst = min(column) if measure.direction == "max" else max(column)
        assert column[0] == worst in column[1:]
    assert table.unit == "s" and table.evaluate(Proposal(none)).cost > 0
    assert {m.name: m.direction for m in table.measures} == {"jacob_cov": "max", "ntk": "min"}


def test_the_module_writes_the_table_of_all_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = list(nasbench201().enumerate())[:40]
    monkeypatch.setattr("mimar.space.Space.enumerate", lambda self: iter(few))
    monkeypatch.setattr("mimar.study.proxies.Table.from_arrays", partial_table)
    words = ["--net", "nasbench201:cells=1,channels=2", "--proxies", "params+l2_norm", "--batch", "2", "--side", "4"]
    monkeypatch.setattr(sys, "argv", ["proxies", str(tmp_path / "t.npz"), *words])
    proxies.main()
    table = Table.load(tmp_path / "t.npz")
    assert [m.name for m in table.measures] == ["params", "l2_norm"]
    assert len(table) == len({nasbench201().canonical(a) for a in few}) < 40
    assert all(table.evaluate(Proposal(a)).status == "ok" for a in few)


def test_scores_do_not_depend_on_how_many_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "CHUNK", 2)
    space = nasbench201()
    cells = [space.sample(i) for i in range(5)]
    given = {"architectures": cells, "net": "nasbench201:cells=1,channels=2", "shape": (3, 8, 8), "batch": 4}
    one, two = (scores(("synflow", "jacob_cov"), **given, workers=n) for n in (1, 2))
    for cell in cells:
        assert one.evaluate(Proposal(cell)).metrics == two.evaluate(Proposal(cell)).metrics


FROM_ARRAYS = Table.from_arrays


def partial_table(*given: object, **more: object) -> Table:
    return FROM_ARRAYS(*given, **{**more, "partial": True})  # type: ignore[arg-type]
