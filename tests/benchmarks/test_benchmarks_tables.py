"""The benchmark of tables runs, small; its figures at this size mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tables
from steps import Bound


def test_tables_are_measured(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench_macro.npz")
    load, single, many = tables.measured("nasbench-macro", 500, 1)
    assert load["measure"] == "seconds to read it" and load["must"] == "<= 0.3" and float(load["figure"]) >= 0
    assert single["measure"] == "queries a second, one by one" and single["must"] == ">= 200000"
    assert many["must"] == ">= 1e+06" and float(many["figure"]) > 0 and many["rows"] == 6561
    assert tables.BOUNDS["load"] == Bound("<=", 0.3)
