"""Tables of one's own: how rows are found, what a query gives, what a wrong table is told."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from mimar.core.errors import DataError, UsageError
from mimar.core.streams import Draws
from mimar.evaluators.columns import significant
from mimar.evaluators.rows import Rows
from mimar.evaluators.table import Table
from mimar.recipes import regularized_evolution
from mimar.space import Architecture, Choice, Proposal, Space, nasbench201
from mimar.space.dag import dag
from mimar.testing import check_evaluator

SMALL = Space([Choice("width", (8, 16), "size"), Choice("norm", ("batch", "layer"))])
FIGURES = {"valid_accuracy": [0.71, 0.74, 0.78, 0.77]}
CONDITIONAL = Space(
    [
        Choice("op", ("conv", "pool", "skip")),
        Choice("kernel", (3, 5), "size", when=(("op", "conv"),)),
        Choice("inputs", ("a", "b", "c"), "some", 2),
    ]
)


def architecture(width: int, norm: str) -> Architecture:
    return Architecture({"width": width, "norm": norm})


def measured(table: Table, arch: Mapping[str, Any], **more: Any) -> dict[str, float]:
    return dict(table.evaluate(Proposal(Architecture(arch)), **more).metrics)


def test_three_lines_make_a_table_that_a_recipe_searches() -> None:
    space = Space([Choice("width", (8, 16), "size"), Choice("norm", ("batch", "layer"))])
    table = Table.from_arrays(space, {"valid_accuracy": [0.71, 0.74, 0.78, 0.77]})
    result = regularized_evolution.recipe(task=table, queries=20, population=4, sample=2).run()
    assert dict(result.architecture) == {"width": 16, "norm": "batch"} and result.metrics["valid_accuracy"] == 0.78


def test_rows_are_in_the_order_of_the_space() -> None:
    table = Table.from_arrays(SMALL, FIGURES)
    assert [table.row(a) for a in SMALL.enumerate()] == [0, 1, 2, 3] == list(range(len(table)))
    assert list(table.rows.architectures) == list(SMALL.enumerate())
    assert measured(table, {"width": 8, "norm": "layer"}) == {"valid_accuracy": 0.74}
    assert table.measures == (("valid_accuracy", "max", "fraction"),)


def test_rows_may_be_given_in_any_order_or_as_codes() -> None:
    order = [3, 0, 2, 1]
    listed = [list(SMALL.enumerate())[i] for i in order]
    figures = {"valid_accuracy": [FIGURES["valid_accuracy"][i] for i in order]}
    given = Table.from_arrays(SMALL, figures, architectures=listed)
    coded = Table.from_arrays(SMALL, figures, codes=np.array([[1, 1], [0, 0], [1, 0], [0, 1]]))
    for a in SMALL.enumerate():
        assert measured(given, a) == measured(coded, a) == measured(Table.from_arrays(SMALL, FIGURES), a)
    assert given.digest() == coded.digest() != Table.from_arrays(SMALL, FIGURES).digest()


def test_conditional_choices_and_combinations_have_rows() -> None:
    every = list(CONDITIONAL.enumerate())
    table = Table.from_arrays(CONDITIONAL, {"valid_loss": np.arange(len(every))}, minimise=["valid_loss"])
    assert [measured(table, a)["valid_loss"] for a in every] == list(range(12))
    assert (table.rows.codes == -1).sum() == 6  # of the twelve, the six without a kernel
    assert Rows.of_codes(CONDITIONAL, table.rows.codes).architectures == every
    with pytest.raises(UsageError, match="conditions"):
        table.rows.numbers([[0, 0, 0]])


def test_combinations_alone_are_looked_up_by_digits() -> None:
    space = Space([Choice("inputs", ("a", "b", "c", "d"), "some", 2), Choice("op", ("x", "y"))])
    table = Table.from_arrays(space, {"valid_accuracy": np.arange(12) / 12})
    assert table.rows.radix and [table.row(a) for a in space.enumerate()] == list(range(12))


def test_unknown_architectures_are_infeasible_and_cost_nothing() -> None:
    table = Table.from_arrays(SMALL, FIGURES, seconds=[1.0, 2.0, 3.0, 4.0])
    for arch in ({"width": 9, "norm": "batch"}, {"width": 8}, {"width": 8, "norm": "batch", "more": 1}, {}):
        result = table.evaluate(Proposal(Architecture(arch)))
        assert (result.status, result.cost, dict(result.metrics)) == ("infeasible", 0.0, {})
        assert table.costs(Architecture(arch)) == {}
        with pytest.raises(DataError, match="has no row for"):
            table.verdict(Architecture(arch))
    assert table.row({"width": [8], "norm": "batch"}) is None  # what has no hash is no option
    assert table.row({"width": 8, "norm": "batch"}) == 0  # a plain dict is as good


def test_costs_are_free_and_verdicts_are_not_told() -> None:
    table = Table.from_arrays(
        SMALL, FIGURES, final={"test_accuracy": [0.7, 0.7, 0.8, 0.8]}, known={"params": [1, 2, 3, 4], "speed": [4, 3, 2, 1]},
        maximise=["speed"], units={"speed": "images/s"},
    )  # fmt: skip
    best = architecture(16, "batch")
    assert table.costs(best) == {"params": 3.0, "speed": 2.0} and table.verdict(best) == {"test_accuracy": 0.8}
    assert measured(table, best) == {"valid_accuracy": 0.78, "params": 3.0, "speed": 2.0}
    assert [tuple(m) for m in table.measures[1:]] == [("params", "min", "1"), ("speed", "max", "images/s")]


CURVES = {
    "measured": {"valid_accuracy": [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]]},
    "fidelities": (1, 10),
    "seconds": [[1.0] * 4, [10.0] * 4],
}


def test_fidelities_choose_figures_and_seconds() -> None:
    table, arch = Table.from_arrays(SMALL, **CURVES), architecture(8, "batch")
    assert table.unit == "s" and table.fidelities == (1.0, 10.0)
    low, high = table.evaluate(Proposal(arch, 1.0)), table.evaluate(Proposal(arch))
    assert (low.metrics["valid_accuracy"], low.cost) == (0.1, 1.0)
    assert (high.metrics["valid_accuracy"], high.cost) == (0.5, 10.0)
    assert table.evaluate(Proposal(arch), 1.0) == low and low.curve == ()
    assert table.evaluate(Proposal(arch, 1.0), 10.0) == high  # what is asked now counts, not what the proposal said
    with pytest.raises(UsageError, match="has no fidelity 5; it has 1, 10"):
        table.evaluate(Proposal(arch), 5.0)
    with pytest.raises(UsageError, match="has no fidelity 0; it has 1, 10"):
        table.evaluate(Proposal(arch), 0.0)
    default = Table.from_arrays(SMALL, **CURVES, default=1.0)
    assert default.evaluate(Proposal(arch)) == low and default.digest() != table.digest()
    with pytest.raises(UsageError, match="has no fidelity 3"):
        Table.from_arrays(SMALL, **CURVES, default=3.0)
    with pytest.raises(UsageError, match="it has none"):
        Table.from_arrays(SMALL, FIGURES).evaluate(Proposal(arch), 3.0)


def test_a_table_that_resumes_gives_curves() -> None:
    table = Table.from_arrays(SMALL, **CURVES, resumes=True)
    arch = architecture(16, "layer")
    assert table.evaluate(Proposal(arch)).curve == [0.4, 0.8]
    assert table.evaluate(Proposal(arch, 1.0)).curve == [0.4]


def test_repeated_trainings_are_averaged_or_drawn() -> None:
    repeated = {"valid_accuracy": [[0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6], [np.nan, 0.6, np.nan, 0.8]]}
    mean = Table.from_arrays(SMALL, repeated)
    one = Table.from_arrays(SMALL, repeated, single=True)
    two, three = architecture(8, "batch"), architecture(8, "layer")
    assert measured(mean, two)["valid_accuracy"] == pytest.approx(0.2)
    assert measured(mean, three)["valid_accuracy"] == pytest.approx(0.4)
    assert measured(one, two)["valid_accuracy"] == 0.1  # without a stream the first
    drawn = [measured(one, three, rng=Draws(0, i))["valid_accuracy"] for i in range(300)]
    counts = [drawn.count(v) for v in (0.2, 0.4, 0.6)]
    assert sum(counts) == 300 and min(counts) > 70  # a third each: sd 8
    assert {measured(one, two, rng=Draws(0, i))["valid_accuracy"] for i in range(50)} == {0.1, 0.3}


def test_all_columns_and_the_curve_are_of_the_same_training() -> None:
    figures = {"a": np.arange(24.0).reshape(3, 2, 4), "b": 100 + np.arange(24.0).reshape(3, 2, 4)}
    table = Table.from_arrays(SMALL, figures, fidelities=(1, 2), single=True, resumes=True)
    for i in range(20):
        result = table.evaluate(Proposal(architecture(8, "batch")), rng=Draws(0, i))
        assert result.metrics["b"] == 100 + result.metrics["a"] == 108 + result.curve[0] - 4
        assert result.curve[-1] == result.metrics["a"]


@dataclass(frozen=True)
class Sorted:
    """A structure by which the order of two options makes no difference; it knows nothing else."""

    layout = None

    def canonical(self, arch: Architecture) -> Architecture:
        return Architecture(dict(zip(("a", "b"), sorted(arch.values()), strict=True)))

    def enumerate(self) -> None:
        return None


def test_networks_that_are_the_same_share_a_row() -> None:
    space = Space([Choice("a", ("x", "y", "z")), Choice("b", ("x", "y", "z"))], structure=Sorted())
    listed = [Architecture({"a": a, "b": b}) for a in "xyz" for b in "xyz" if a <= b and a + b != "zz"]
    table = Table.from_arrays(space, {"valid_accuracy": np.arange(5) / 5}, architectures=listed, partial=True)
    for _ in range(2):  # what was found once is remembered
        assert table.row(Architecture({"a": "y", "b": "x"})) == table.row(Architecture({"a": "x", "b": "y"})) == 1
        assert table.row(Architecture({"a": "z", "b": "z"})) is None
    assert table.rows.numbers([[1, 0], [0, 1], [2, 2]]).tolist() == [1, 1, -1]
    with pytest.raises(
        DataError, match=r"no row for \{'a': 'z', 'b': 'z'\}, which is of the space; give all of them, or"
    ):
        Table.from_arrays(space, {"valid_accuracy": np.arange(5) / 5}, architectures=listed)


def test_many_rows_are_looked_up_at_once() -> None:
    table = Table.from_arrays(SMALL, **CURVES, final={"test_accuracy": [1, 2, 3, 4]})
    rows = table.rows.numbers([[1, 1], [0, 0]])
    assert table.lookup(rows, "valid_accuracy").tolist() == [0.8, 0.5]
    assert table.lookup(rows, "valid_accuracy", 1.0).tolist() == [0.4, 0.1]
    assert table.lookup(rows, "test_accuracy").tolist() == [4, 1]
    with pytest.raises(UsageError, match="unknown column 'valid'; did you mean 'valid_accuracy'"):
        table.lookup(rows, "valid")
    with pytest.raises(UsageError, match="no row for 1 of these"):
        table.lookup([0, -1], "valid_accuracy")
    with pytest.raises(UsageError, match=r"codes are \(N, 2\)"):
        table.rows.numbers([[0, 2]])


def test_large_spaces_hold_only_what_has_a_row() -> None:
    space = Space([Choice(f"c{i}", tuple("abcdefghij")) for i in range(12)])  # 10^12 combinations
    codes = np.array([[i % 10] * 12 for i in (3, 1, 4)])
    table = Table.from_arrays(space, {"valid_accuracy": [0.3, 0.1, 0.4]}, codes=codes, partial=True)
    assert [table.row(a) for a in table.rows.architectures] == [0, 1, 2]
    assert table.rows.numbers(codes[::-1]).tolist() == [2, 1, 0]
    assert table.rows.numbers([[0] * 12, [9] * 12]).tolist() == [-1, -1]
    with pytest.raises(
        DataError, match="3 rows for a space of 1000000000000 combinations; give all of them, or partial"
    ):
        Table.from_arrays(space, {"valid_accuracy": [0.3, 0.1, 0.4]}, codes=codes)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"measured": {"valid_accuracy": [1, 2, 3]}}, r"'valid_accuracy' of the table must have 4 rows; its shape is \(3,\)"),
    ({"measured": {"valid_accuracy": [[[[1, 2, 3, 4]]]]}}, r"must have 4 rows; its shape is \(1, 1, 1, 4\)"),
    ({"measured": {"valid_accuracy": [1, np.nan, 3, 4]}}, "'valid_accuracy' of the table is missing or not finite in row 1"),
    ({"measured": {"valid_accuracy": [1, 2, 3, np.inf]}}, "not finite in row 3"),
    ({"measured": {"valid_accuracy": [[1, 2, np.nan, 4], [1, np.nan, np.nan, 4]]}}, "not finite in row 2"),
    ({"measured": {"valid_accuracy": [np.nan] * 4}}, r"not finite in row 0, 1, 2, …"),
    ({"measured": {"valid_accuracy": [1, "two", 3, 4]}}, "'valid_accuracy' of the table is not made of numbers"),
    ({"measured": {"valid_accuracy": [1, [2], 3, 4]}}, "'valid_accuracy' of the table is not made of numbers"),
    ({"measured": {}}, "needs a row and a measured column"),
    ({"known": {"params": [1, 2, 3]}}, "'params' of the table must have 4 rows"),
    ({"known": {"params": [1, 2, 3, np.nan]}}, "'params' of the table is missing or not finite in row 3"),
    ({"final": {"test_accuracy": [[[1] * 4] * 2]}}, "'test_accuracy' has 2 fidelities, and the table has 1"),
    ({"final": {"valid_accuracy": [1] * 4}}, "'valid_accuracy' is given twice"),
    ({"seconds": [1, 2, -3, 4]}, "'seconds' of the table is negative in row 2"),
    ({"seconds": [1, 2, 3]}, "'seconds' of the table must have 4 rows"),
    ({"fidelities": (1, 2)}, "'valid_accuracy' of the table must have 4 rows|has 1 fidelities, and the table has 2"),
    ({"fidelities": (2, 1)}, r"fidelities increase, without repetition; got \(2, 1\)"),
    ({"fidelities": (1, 1)}, "fidelities increase"),
    ({"fidelities": (1, np.nan)}, "fidelities increase"),
    ({"minimise": ["valid_acuracy"]}, "unknown column 'valid_acuracy'; did you mean 'valid_accuracy'"),
    ({"architectures": [{"width": 8, "norm": "batch"}] * 4}, r"rows 0 and 1 of the table have the same architecture: \{'w"),
    ({"architectures": [{"width": 8, "norm": "btch"}]}, "row 0 of the table is not an .*unknown option 'btch'; did you mean"),
    ({"architectures": [{"width": 8}]}, "row 0 of the table is not an architecture of the space: .*decides nothing"),
    ({"architectures": [{"width": 8, "norm": None}]}, "row 0 of the table is not an architecture of the space"),
    ({"architectures": []}, "needs a row and a measured column"),
    ({"codes": [[0, 0], [0, 0]]}, "rows 0 and 1 of the table have the same architecture"),
    ({"codes": [[0, 0], [0, 2]]}, "row 1 of the table has a code that is out of range"),
    ({"codes": [[0, -1]]}, "row 0 of the table has a code that is out of range"),
    ({"codes": [[0], [1]]}, r"codes of this table are whole numbers \(rows, 2\), not int64 \(2, 1\)"),
    ({"codes": [[0.0, 1.0]]}, r"codes of this table are whole numbers \(rows, 2\), not float64"),
    ({"codes": [[0, 0], [0, 1], [1, 1]], "measured": {"v": [1, 2, 3]}}, r"no row for \{'width': 16, 'norm': 'batch'\}"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "says"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_what_is_wrong_with_a_table_is_said_in_one_sentence(given: dict[str, Any], says: str) -> None:
    with pytest.raises((DataError, UsageError), match=says) as told:
        Table.from_arrays(SMALL, **{"measured": FIGURES, **given})
    assert "\n" not in str(told.value)


def test_continuous_choices_are_refused() -> None:
    space = Space([Choice("lr", (1e-4, 1e-1), "value", log=True)])
    with pytest.raises(
        DataError, match="cannot list the continuous choice 'lr': give its tabulated numbers as options"
    ):
        Table.from_arrays(space, {"valid_accuracy": [0.5]}, architectures=[{"lr": 0.01}])


def test_rows_of_a_constrained_space_are_what_it_allows() -> None:
    space = Space(SMALL.choices, lambda a: a["width"] == 8 or a["norm"] == "batch")
    table = Table.from_arrays(space, {"valid_accuracy": [0.71, 0.74, 0.78]})
    assert [table.row(a) for a in space.enumerate()] == [0, 1, 2] and table.row(architecture(16, "layer")) is None
    with pytest.raises(DataError, match="row 0 of the table is not an .* violates the constraint"):
        Table.from_arrays(space, {"v": [1]}, architectures=[architecture(16, "layer")])


def test_a_graph_without_a_canonical_form_has_no_row() -> None:
    space = dag(4, ("a", "b"))
    listed = sorted({space.canonical(a) for a in space.enumerate()}, key=lambda a: a.to_json())
    table = Table.from_arrays(space, {"v": np.arange(len(listed))}, architectures=listed)
    dead = Architecture({name: 0 if name.startswith("edge") else "a" for name in listed[0]})
    assert table.row(dead) is None and not space.valid(dead)
    assert all(table.row(a) == listed.index(space.canonical(a)) for a in space.enumerate())


def test_figures_of_float32_are_read_as_decimals() -> None:
    given = np.array([91.607, -0.0001234567, 0.0, 123456.7, 5e9, 9.999999], dtype=np.float32)
    wanted = [91.607, -0.0001234567, 0.0, 123456.7, 5e9, 9.999999]
    assert significant(given).tolist() == wanted != given.astype(np.float64).tolist()
    assert significant(np.array([np.nan, np.inf, -np.inf], dtype=np.float32)).tolist()[1:] == [np.inf, -np.inf]
    table = Table.from_arrays(SMALL, {"valid_accuracy": np.array([0.71, 0.74, 0.78, 0.77], dtype=np.float32)})
    assert measured(table, architecture(8, "batch")) == {"valid_accuracy": 0.71}


def test_a_table_travels() -> None:
    table = Table.from_arrays(SMALL, FIGURES)
    other = pickle.loads(pickle.dumps(table))
    assert other.digest() == table.digest() and measured(other, architecture(16, "batch")) == {"valid_accuracy": 0.78}
    assert replace(table, name="other").digest() != table.digest()


def test_tables_keep_the_laws_of_evaluators() -> None:
    check_evaluator(
        Table.from_arrays(SMALL, **CURVES, final={"test_accuracy": [1, 2, 3, 4]}, known={"params": [1] * 4})
    )
    figures = np.random.default_rng(0).random((2, 3, 12))
    curves = Table.from_arrays(CONDITIONAL, {"v": figures}, fidelities=(1, 2, 3), resumes=True, single=True)
    check_evaluator(curves, elsewhere=False)


def test_the_order_of_a_published_space_is_kept() -> None:
    table = Table.from_arrays(nasbench201(), {"valid_accuracy": np.arange(15_625)})
    third = table.rows.architectures[3]
    assert third == list(nasbench201().enumerate())[3] and measured(table, third) == {"valid_accuracy": 3.0}
