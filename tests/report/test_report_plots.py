"""Axes hold their values, labels keep apart, a single point and constant values are no trouble."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mimar.report.markup import Markup, esc, join, num, tag
from mimar.report.plots import Line, Row, dots, legend, lines, panel, scale, short

VALUES = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=6)


@given(VALUES)
def test_an_axis_holds_its_values_between_few_round_ticks(values: list[float]) -> None:
    ticks = scale(values)
    slack = 1e-6 * (ticks[-1] - ticks[0]) + 1e-9 * max(map(abs, values))
    assert 2 <= len(ticks) <= 8 and ticks == sorted(ticks)
    assert ticks[0] <= min(values) + slack and ticks[-1] >= max(values) - slack


def test_an_axis_reaches_the_ends_asked_for() -> None:
    assert scale([0.3, 0.4], 0.0, 1.0) == [0.0, 0.5, 1.0]
    assert scale([0.3, 1.4], 0.0, 1.0)[-1] >= 1.4
    assert scale([0.0], 0.0)[0] == 0.0 and scale([0.0], 0.0)[-1] == 1.0


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(1e-9, 1e9)), min_size=1, max_size=8))
def test_lines_stay_inside_the_picture(points: list[tuple[int, float]]) -> None:
    ordered = sorted((float(x), y) for x, y in points)
    root = ET.fromstring(lines("t", [Line("a", ordered), Line("b", ordered[:1], 1)], log=True, low=0.0))
    for element in root.iter():
        for key, most in (("cx", 360), ("cy", 200), ("x", 360), ("y", 200)):
            value = element.get(key)
            assert value is None or -1 <= float(value) <= most + 1
    names = [
        float(e.get("y") or 0) for e in root.iter() if (e.get("class") or "").startswith("name") and e.text in "ab"
    ]
    assert len(names) == 2 and abs(names[0] - names[1]) >= 25.9


def test_a_wide_range_is_drawn_on_a_logarithmic_scale() -> None:
    points = [(1.0, 100.0), (2.0, 1.0), (3.0, 0.01)]
    texts = [e.text for e in ET.fromstring(lines("t", [Line("a", points)], log=True)).iter() if e.tag.endswith("text")]
    assert {"1e+02", "1", "0.01"} <= set(texts)
    texts = [e.text for e in ET.fromstring(lines("t", [Line("a", points)])).iter() if e.tag.endswith("text")]
    assert "100" in texts and "0.01" in texts  # the last is the label of the end


def test_nothing_to_draw_is_nothing() -> None:
    assert lines("t", []) == lines("t", [Line("a", [])]) == dots("t", []) == dots("t", [Row("a", [])]) == ""


def test_dots_show_every_value_the_mean_and_the_spread() -> None:
    root = ET.fromstring(dots("t", [Row("own", [0.9], loud=True), Row("others", [0.8, 0.85], 0.825, 0.035)]))
    classes = [e.get("class") for e in root.iter()]
    assert (classes.count("dot s0"), classes.count("ring"), classes.count("band"), classes.count("mean")) == (
        1,
        2,
        1,
        1,
    )
    assert root[1].text == "own: 90 %; others: 80 %, 85 %; mean 82.5 %, standard deviation 3.5 %"


def test_a_panel_names_the_strongest_option_and_the_chosen_one() -> None:
    given_lines = [Line("conv", [(1.0, 0.5), (2.0, 0.7)], 1), Line("skip", [(1.0, 0.5), (2.0, 0.3)], 2)]
    root = ET.fromstring(panel("0 → 1", given_lines, 1.0, "skip"))
    texts = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert {"0 → 1", "conv 0.70", "✓ skip"} <= set(texts)
    thick = [e for e in root.iter() if e.get("class") == "line s1"]
    thin = [e for e in root.iter() if e.get("class") == "line s2 thin"]
    assert len(thick) == len(thin) == 1 and thick[0].get("stroke-dasharray") != thin[0].get("stroke-dasharray")
    assert legend([(1, "conv"), (2, "<skip>")]).count("<li>") == 2 and "&lt;skip&gt;" in legend([(2, "<skip>")])


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (0.5, "0.5"), (12345.0, "1e4"), (1e-5, "1e-5"), (-2.0, "-2")])
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_markup_escapes_texts_and_keeps_markup() -> None:
    assert tag("p", "<b>", Markup("<i></i>"), class_="a\"b'") == '<p class="a&quot;b&#x27;">&lt;b&gt;<i></i></p>'
    assert Markup("<i></i>") + "<" == "<i></i>&lt;" and isinstance(Markup("a") + "b", Markup)
    assert join("&", Markup("&amp;"), 3) == "&amp;&amp;3" and esc("\x00\ud800\uffff\t") == "\ufffd?\ufffd\t"
    assert num(-0.001) == "0" and num(1.50) == "1.5" and num(10.0) == "10" and num(math.pi) == "3.14"
