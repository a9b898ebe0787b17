"""Trials as the log has them: parents, incumbents, fronts, objectives and their directions; effects, rungs and the ledger."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any

import pytest
from asked_folders import TREE, architecture, digest, finished, head, trial, trials
from report_folders import make

from mimar.objectives import front
from mimar.report import effects, history, ledger, rungs
from mimar.report.reading import Run, load
from mimar.report.trials import Aim, Tried, aims, distinct, fronts, leaders, line_of, read, top

ACCURACY = Aim("valid_accuracy", 0, 1, "fraction")


def run_of(folder: Path, log: list[dict[str, Any]], **more: Any) -> Run:
    return load(make(folder, log, head(**more)))


def test_a_trial_knows_its_parent_and_its_generation(tmp_path: Path) -> None:
    found = read(run_of(tmp_path / "r", trials()))
    assert [t.place for t in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [t.parent.place if t.parent else None for t in found] == [None, None, 2, None, 3, None, 3]
    assert [t.depth for t in found] == [0, 0, 1, 0, 2, 0, 2]
    assert [t.place for t in line_of(found[4])] == [2, 3, 5]
    assert [t.values for t in found][3:6] == [(), (0.9,), ()] and found[5].status == "timeout"


def test_a_parent_that_was_tried_twice_is_the_latest_one_and_no_circle(tmp_path: Path) -> None:
    a, b = architecture(), architecture("conv5")
    log = [trial(0, a, 0.1), trial(1, b, 0.2, parent=digest(a)), trial(2, a, 0.1, parent=digest(b)), trial(3, b, 0.2, parent=digest(a))]  # fmt: skip
    assert [t.place for t in line_of(read(run_of(tmp_path / "r", log))[3])] == [1, 2, 3, 4]


def test_incumbents_rise_and_a_higher_fidelity_goes_before(tmp_path: Path) -> None:
    low = [
        trial(i, architecture(width=w), v, fidelity=1.0) for i, (w, v) in enumerate([(8, 0.5), (16, 0.4), (32, 0.8)])
    ]
    high = [trial(3, architecture(), 0.6, fidelity=3.0), trial(4, architecture(width=32), 0.9, fidelity=1.0)]
    found = read(run_of(tmp_path / "r", [*low, *high]))
    assert [t.place for t in leaders(found)] == [1, 3, 4]
    assert [t.place for t in top(found)] == [4]


def test_the_front_is_that_of_the_objectives_whatever_the_order() -> None:
    rng = random.Random(0)
    points = [(rng.randrange(9) / 10, rng.randrange(9) / 10) for _ in range(60)]
    for order in (points, points[::-1], sorted(points)):
        made = [tried(i, p) for i, p in enumerate(order)]
        (*_, (_, held)) = fronts(made)
        assert sorted(t.values for t in held) == sorted(order[i] for i in front(order))


def tried(place: int, values: tuple[float, ...], chosen: dict[str, Any] | None = None, **more: Any) -> Tried:
    given: dict[str, Any] = {"fidelity": None, "since": None, "digest": str(place), **more}
    return Tried(place, chosen or {}, values, {}, "ok", 1.0, float(place), repeated=False, **given)


def test_the_best_are_different_architectures() -> None:
    given = [tried(1, (0.5,), digest="x"), tried(2, (0.9,), digest="y"), tried(3, (0.7,), digest="x"), tried(4, (0.9,), digest="z")]  # fmt: skip
    assert [(t.place, times) for t, times in distinct(given)] == [(2, 1), (4, 1), (3, 2)]


def test_the_direction_of_an_objective_is_that_of_the_table_or_of_its_figures(tmp_path: Path) -> None:
    log = [trial(0, architecture(), 0.5, metrics={"valid_mse": 0.5}, values=[-0.5])]
    going = run_of(tmp_path / "going", log)
    (aim,) = aims(going, read(going))
    assert (aim.name, aim.sign, aim.of(read(going)[0])) == ("valid_mse", -1, 0.5)
    ended = load(finished(tmp_path / "ended", log, measures=[["valid_mse", "min", "ms"]]))
    (aim,) = aims(ended, read(ended))
    assert (aim.sign, aim.label, aim.form(0.5), aim.gap(-0.25)) == (-1, "valid mse (ms)", "0.5", "−0.25")


@pytest.mark.parametrize(
    ("objective", "values", "names"),
    [
        (["valid_accuracy", "params"], [0.5, -9.0], ["valid_accuracy", "params"]),
        (
            {"part": "mimar.objectives.aims.Vector", "metrics": ["valid_accuracy", "params"]},
            [0.5, -9.0],
            ["valid_accuracy", "params"],
        ),
        ({"part": "mimar.objectives.aims.Best", "metric": "params"}, [-9.0], ["params"]),
        ({"part": "mimar.objectives.aims.WeightedProduct", "cost": "params"}, [0.4], ["weighted product"]),
        ({"part": "mimar.objectives.aims.Potential"}, [0.4, 0.1], ["potential", "value 2"]),
        (None, [0.5], ["valid_accuracy"]),
    ],
    ids=str,
)
def test_objectives_have_the_names_that_the_run_gave(
    tmp_path: Path, objective: Any, values: list[float], names: list[str]
) -> None:
    log = [trial(0, architecture(), 0.5, metrics={"valid_accuracy": 0.5, "params": 9.0}, values=values)]
    run = run_of(tmp_path / "r", log, tree={**TREE, "trials": {"objective": objective}})
    found = aims(run, read(run))
    assert [aim.name for aim in found] == names
    assert [aim.sign for aim in found] == [-1 if name == "params" else 1 for name in names]


def test_figures_have_their_unit() -> None:
    assert (ACCURACY.form(0.91234), ACCURACY.gap(0.0123), ACCURACY.form(None)) == ("91.23 %", "+1.23", "–")
    params = Aim("params", 1, -1)
    assert (params.form(1_073_466), params.gap(-301_000), params.form(12.5), params.gap(3)) == (
        "1.07 M",
        "−301 k",
        "12.5",
        "+3",
    )


# --- effects ------------------------------------------------------------------------------------------------------


def gaps(given: list[tuple[dict[str, Any], float]], aim: Aim = ACCURACY) -> dict[str, dict[str, float]]:
    found = effects.effects([tried(i, (aim.sign * v,), chosen) for i, (chosen, v) in enumerate(given)], aim)
    return {one[0].choice: {e.name: e.gap for e in one} for one in found}


def test_an_effect_is_the_mean_of_those_that_took_an_option_less_that_of_the_rest() -> None:
    found = gaps([({"a": "x"}, 1.0), ({"a": "x"}, 3.0), ({"a": "y"}, 5.0), ({"a": "z"}, 9.0)])
    assert found == {"a": {"x": 2.0 - 7.0, "y": 5.0 - 13 / 3, "z": 9.0 - 3.0}}
    assert gaps([({"a": "x"}, 1.0), ({"a": "x"}, 2.0)]) == {}  # nothing to compare with


def test_effects_of_two_options_are_opposite_and_keep_the_direction_of_the_figure() -> None:
    given = [({"a": "x"}, 1.0), ({"a": "y"}, 5.0), ({"a": "y"}, 6.0)]
    for aim in (ACCURACY, Aim("mse", 0, -1)):
        assert gaps(given, aim) == {"a": {"x": -4.5, "y": 4.5}}


def test_effects_of_sets_sizes_numbers_and_conditional_choices() -> None:
    given = [
        ({"in": ["a", "b"], "n": 8, "lr": 0.1}, 1.0),
        ({"in": ["a", "c"], "n": 16, "lr": 0.4, "deep": "x"}, 2.0),
        ({"in": ["b", "c"], "n": 8, "lr": 0.9, "deep": "y"}, 6.0),
    ]
    found = gaps(given)
    assert found["in"] == {"a": 1.5 - 6.0, "b": 3.5 - 2.0, "c": 4.0 - 1.0}
    assert list(found["n"]) == ["8", "16"] and found["n"]["8"] == 1.5
    assert found["lr"] == {"≥ 0.4": 4.0 - 1.0}
    assert found["deep"] == {"x": -4.0, "y": 4.0}  # those without the choice take no part


def test_effects_agree_with_a_regression_where_options_are_balanced() -> None:
    grid = list(itertools.product((0, 1), (0, 1, 2)))
    found = gaps([({"a": f"o{i}", "b": f"p{j}"}, 10.0 * i + j) for i, j in grid])
    assert found["a"] == pytest.approx({"o0": -10.0, "o1": 10.0})
    assert found["b"] == pytest.approx({"p0": -1.5, "p1": 0.0, "p2": 1.5})


# --- rungs and ledger ---------------------------------------------------------------------------------------------


def test_rungs_are_correlated_over_what_both_have() -> None:
    low = [tried(i, (v,), digest=str(i), fidelity=1.0) for i, v in enumerate((0.1, 0.2, 0.3, 0.4, 0.5))]
    high = [tried(i, (v,), digest=str(i), fidelity=9.0) for i, v in ((1, 0.5), (2, 0.4), (3, 0.8), (4, 0.9))]
    (pair,) = rungs.pairs([*low, *high], ACCURACY)
    assert (pair.low, pair.high, len(pair.points)) == ("1", "9", 4)
    assert pair.tau == pytest.approx((5 - 1) / 6)  # five pairs agree, one does not
    assert rungs.Pair("1", "9", pair.points[:2]).tau is None
    assert rungs.Pair("1", "9", [(0.1, 0.5)] * 4).tau is None


def test_the_parts_of_the_ledger_add_up(tmp_path: Path) -> None:
    run = load(finished(tmp_path / "r"))
    text = ledger.ledger(run, read(run))
    rows = [row.replace("</th>", "|").replace("</td>", "|") for row in text.split('<th scope="row">')[1:]]
    cells = [[c.replace("<td>", "") for c in row.split("|")[:3]] for row in rows]
    assert cells == [
        ["measured", "5", "50 s"],
        ["failed", "1", "10 s"],
        ["timed out", "1", "4 s"],
        ["under way when the budget ended", "1", "3 s"],
        ["all", "8", "67 s"],
        ["of these measured before", "1", "10 s"],
    ]
    assert "5 proposals broke a limit" in text and math.isclose(50 + 10 + 4 + 3, 67)


def test_preparation_is_a_row_of_its_own(tmp_path: Path) -> None:
    spent = {"queries": 9, "cost": 164.0, "prepared": 100.0, "clock": 164.0, "lost": 0}
    text = ledger.ledger(run := load(finished(tmp_path / "r", ledger=spent)), read(run))
    assert "preparation</th><td>–</td><td>100 s" in text and "all</th><td>9</td><td>164 s" in text
    spent |= {"lost": 2, "cost": 170.0}
    text = ledger.ledger(run := load(finished(tmp_path / "lost", ledger=spent)), read(run))
    assert "under way when the budget ended</th><td>2</td><td>6 s" in text


# --- over time ----------------------------------------------------------------------------------------------------


def test_an_axis_leaves_the_worst_quarter_out_where_it_stretches_it() -> None:
    figures = [0.1, 0.8, 0.82, 0.84, 0.85, 0.86, 0.87, 0.9]
    up = history.axis([tried(i, (v,)) for i, v in enumerate(figures)], ACCURACY)
    assert (up.low, up.high) == (0.82, None) and not up.reaches(0.8) and up.reaches(0.95)
    down = history.axis([tried(i, (-v,)) for i, v in enumerate((9.0, *figures[:0:-1]))], Aim("mse", 0, -1))
    assert (down.low, down.high) == (None, 0.87) and down.reaches(0.1)
    even = history.axis([tried(i, (i / 10,)) for i in range(8)], ACCURACY)
    assert (even.low, even.high) == (None, None)  # 0.7 is less than 1.5 times the 0.5 of the other three quarters
    for flat in ([], [tried(0, (0.5,))], [tried(i, (0.5,)) for i in range(9)]):
        assert history.axis(flat, ACCURACY).low is None


def test_what_leads_is_held_until_the_next_and_to_the_end() -> None:
    assert history.staircase([(1.0, 0.5), (4.0, 0.7)], 9.0) == [(1.0, 0.5), (4.0, 0.5), (4.0, 0.7), (9.0, 0.7)]
    assert history.staircase([], 9.0) == []


def test_the_volume_grows_to_that_of_the_front() -> None:
    made = [tried(i + 1, v) for i, v in enumerate([(0.0, 0.0), (1.0, 1.0), (3.0, 0.5), (0.5, 0.5), (2.0, 2.0)])]
    text = history.volume(made, 2)  # above (0, 0): 0, 1, 1 + 2 · 0.5, the same, 4 + 0.5
    assert "front: from 0 % to 100 %" in text
    heights = [
        float(y)
        for y in text.partition('class="line s0"')[0]
        .rpartition(' d="M')[2]
        .replace("L", "")
        .split('"')[0]
        .split()[1::2]
    ]
    shares = [(heights[0] - y) / (heights[0] - heights[-1]) for y in heights]
    assert sorted({round(s, 3) for s in shares}) == [0.0, round(1 / 4.5, 3), round(2 / 4.5, 3), 1.0]
