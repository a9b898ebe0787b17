"""The drawings of cells: every edge is there, no box covers another, no line runs through a box."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest
from report_folders import draw as sample
from report_folders import plain

from mimar import space
from mimar.report.cells import Box, Cell, cells, notation
from mimar.report.drawing import alone, draw

NB201, DARTS = space.nasbench201(), space.darts()
COLOURS = {name: k % 8 for k, name in enumerate(space.DARTS_OPERATIONS)}


def drawn(of: space.Space, seed: int) -> list[Cell]:
    return cells(plain(sample(of, seed)), of.layout)


def overlap(a: Box, b: Box) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def inside(cell: Cell) -> bool:
    boxes = all(
        b.x >= 0 and b.y >= 0 and b.x + b.width <= cell.width and b.y + b.height <= cell.height for b in cell.boxes
    )
    return boxes and all(
        0 <= x <= cell.width and y <= cell.height for w in cell.wires if not w.curve for x, y in w.points
    )


@pytest.mark.parametrize("seed", range(20))
def test_nasbench201_has_four_nodes_and_six_labelled_edges(seed: int) -> None:
    architecture = sample(NB201, seed)
    (cell,) = drawn(NB201, seed)
    expected = [(f"node {i}", f"node {j}", architecture[f"cell/{i}-{j}"]) for i, j in space.NASBENCH201_EDGES]
    assert cell.edges == expected and len(cell.wires) == 6
    assert [b.text for b in cell.boxes if b.kind == "node"] == ["0", "1", "2", "3"]
    words = [b.text for b in cell.boxes if b.kind == "word"]
    assert sorted(words) == sorted([*architecture.values(), "input", "output"])
    assert inside(cell) and cell.width <= 400
    assert not [(a, b) for a, b in combinations(cell.boxes, 2) if overlap(a, b)]
    picture = ET.fromstring(draw(cell, COLOURS))
    strokes = [e.get("class") or "" for e in picture.iter() if e.tag.endswith("path")]
    absent = list(architecture.values()).count("none")
    assert sum(c == "edge absent" for c in strokes) == absent
    assert sum(c.startswith("edge s") for c in strokes) == sum(c.startswith("arrow") for c in strokes) == 6 - absent


@pytest.mark.parametrize("seed", range(60))
def test_darts_cells_have_all_edges_and_nothing_collides(seed: int) -> None:
    genotype = sample(DARTS, seed).to_genotype()
    normal, reduce = drawn(DARTS, seed)
    for cell, genes in ((normal, genotype.normal), (reduce, genotype.reduce)):
        names = ["c_{k-2}", "c_{k-1}", "node 2", "node 3", "node 4", "node 5"]
        expected = [(names[i], f"node {2 + k // 2}", op) for k, (op, i) in enumerate(genes)]
        assert sorted(cell.edges) == sorted(expected)
        kinds = [b.kind for b in cell.boxes]
        assert (kinds.count("end"), kinds.count("node"), kinds.count("operation")) == (3, 4, 8)
        assert inside(cell) and cell.width <= 400
        assert not [(a, b) for a, b in combinations(cell.boxes, 2) if overlap(a, b)]
        for wire in cell.wires:
            for (x, y), (u, v) in zip(wire.points, wire.points[1:], strict=False):
                if not wire.curve and (x == u or y == v):  # lanes and what leads to them
                    line = Box("", min(x, u), min(y, v), max(abs(x - u), 0.01), max(abs(y - v), 0.01))
                    crossed = [b for b in cell.boxes if overlap(line, shrunk(b))]
                    assert not crossed, (wire, crossed)


def shrunk(box: Box) -> Box:
    """Return the inside of a box: a line may end at its rim, and a circle's rim is within its square."""
    return Box(box.text, box.x + 2, box.y + 2, box.width - 4, box.height - 4)


@pytest.mark.parametrize("seed", range(60))
def test_lanes_of_different_sources_do_not_merge(seed: int) -> None:
    for cell in drawn(DARTS, seed):
        lanes = [w.points for w in cell.wires if w.operation is None and not w.collects]
        for a, b in combinations(lanes, 2):
            same_lane = a[1][0] == b[1][0]
            assert same_lane == (a[0] == b[0])  # one lane for each source, a lane for one source


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_darts_cells_of_other_sizes(nodes: int) -> None:
    for cell in drawn(space.darts(nodes=nodes), 1):
        assert len(cell.edges) == 2 * nodes and inside(cell)
        assert not [(a, b) for a, b in combinations(cell.boxes, 2) if overlap(a, b)]


def test_a_cell_alone_is_a_whole_svg_file() -> None:
    text = alone(drawn(DARTS, 3), COLOURS, "a run <1>")
    root = ET.fromstring(text)
    assert text.endswith("</svg>\n") and "var(" not in text and "prefers-color-scheme:dark" in text
    boxes = [e for e in root.iter() if e.tag.endswith("rect") and (e.get("class") or "").startswith("pill")]
    assert len(boxes) == 16 and root[0].text == "a run <1>"
    described = root[1].text or ""
    assert described.count("→") == 16 and re.search(r"normal cell: .*reduce cell: ", described)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"cell/0-1": "none"}, {"normal/node2": ["0", "1"]}, {"a": 3}, {"a": {"b": 1}}, {"a": None}, {"x/0-1": 1}],
    ids=str,
)
@pytest.mark.parametrize("layout", ["nasbench201", "darts", None, "other", 3, ["darts"]], ids=str)
def test_what_is_no_cell_is_listed_and_not_drawn(wrong: dict[str, object], layout: object) -> None:
    assert cells(wrong, layout) == []
    assert notation(wrong, layout) == ", ".join(
        f"{k}: {' + '.join(v) if isinstance(v, list) else v}" for k, v in wrong.items()
    )
