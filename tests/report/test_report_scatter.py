"""Scatter plots: marks stay inside, what is beyond an axis points there, what has no value has a strip of its own."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import hypothesis.strategies as st
from hypothesis import given

from mimar.report.markup import Markup
from mimar.report.plots import Line
from mimar.report.scatter import BOTTOM, LEFT, MOST, TOP, Axis, Marks, key, scatter

POINTS = st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=1, max_size=9)


def drawn(picture: Markup, name: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(picture).iter() if e.tag.endswith(name)]


@given(POINTS, POINTS)
def test_everything_stays_inside_the_picture(
    points: list[tuple[float, float]], line: list[tuple[float, float]]
) -> None:
    groups = [Marks("trials", points), Marks("lost", points, 1, "cross")]
    picture = scatter("t", Axis("query"), Axis("value", low=0.0), groups, [Line("best", line, 1)])
    root = ET.fromstring(picture)
    width, height = (float(root.get(k) or 0) for k in ("width", "height"))
    for e in root.iter():
        for name, most in (("cx", width), ("cy", height), ("x", width), ("y", height)):
            assert e.get(name) is None or -1 <= float(e.get(name) or 0) <= most + 1
    assert sum(e.get("class") == "dot s6" for e in root.iter()) == len(points)


def test_coordinates_are_proportional_between_the_ends() -> None:
    picture = scatter("t", Axis("query"), Axis("value"), [Marks("trials", [(0.0, 0.0), (5.0, 50.0), (10.0, 100.0)])])
    places = [(float(e.get("cx") or 0), float(e.get("cy") or 0)) for e in drawn(picture, "circle")]
    (left, foot), middle, (right, top) = places
    assert (left, foot, top) == (LEFT, BOTTOM, TOP)
    assert middle == ((left + right) / 2, (foot + top) / 2)


def test_what_lies_beyond_an_axis_points_there() -> None:
    points = [(1.0, 0.1), (2.0, 0.8), (3.0, 0.9)]
    picture = scatter("t", Axis("query"), Axis("value", low=0.8), [Marks("trials", points)])
    (triangle,) = [e for e in drawn(picture, "path") if e.get("class") == "dot s6"]
    assert len(drawn(picture, "circle")) == 2
    assert f" {BOTTOM + 1.5:g}" in (triangle.get("d") or "")  # its tip is below the axis
    picture = scatter("t", Axis("query"), Axis("value", high=0.1), [Marks("trials", points)])
    assert [e.get("class") for e in drawn(picture, "path")].count("dot s6") == 2


def test_what_has_no_value_is_crossed_below() -> None:
    groups = [Marks("trials", [(1.0, 0.5)]), Marks("failed", [(2.0, 0.0), (3.0, 0.0)], 3, "cross")]
    picture = scatter("t", Axis("query"), Axis("value"), groups)
    crosses = [e for e in drawn(picture, "path") if e.get("class") == "line s3"]
    assert len(crosses) == 2 and all(float((e.get("d") or "")[1:].split()[1]) > BOTTOM for e in crosses)
    assert ET.fromstring(picture)[1].text == "trials: 1; failed: 2"
    assert "failed: 2" in key(groups) and "lost" not in key([Marks("lost", [])])


def test_many_marks_are_thinned_out_and_counted() -> None:
    groups = [Marks("trials", [(float(i), float(i)) for i in range(10 * MOST)])]
    picture = scatter("t", Axis("query"), Axis("value"), groups)
    assert len(drawn(picture, "circle")) == MOST and f"{10 * MOST:,}" in key(groups)


def test_nothing_to_draw_is_nothing() -> None:
    axes = Axis("query"), Axis("value")
    assert scatter("t", *axes, []) == scatter("t", *axes, [Marks("a", [])], [Line("b", [])]) == key([]) == ""
    assert scatter("t", *axes, [Marks("failed", [(1.0, 0.0)], 1, "cross")]) == ""
