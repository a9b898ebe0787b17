"""Edit distances against an independent library, and what parts of a shortest path lead to."""

from __future__ import annotations

import math
import random

import networkx as nx
import pytest

from mimar.core.errors import SpaceError
from mimar.core.streams import Draws
from mimar.space.edit import Edit, Sketch, apply, distance, path, shuffled, topological


def drawn(rng: random.Random, nodes: int, labels: str = "abc", kinds: tuple[str, ...] = ("",)) -> Sketch:
    inner = [rng.choice(labels) for _ in range(nodes - 2)]
    pairs = [(i, j) for i in range(nodes) for j in range(i + 1, nodes) if rng.random() < 0.5]
    return Sketch(("input", *inner, "output"), {pair: rng.choice(kinds) for pair in pairs})


def graph(sketch: Sketch) -> nx.DiGraph:
    made = nx.DiGraph()
    made.add_nodes_from((k, {"op": label}) for k, label in enumerate(sketch.labels))
    made.add_edges_from((i, j, {"op": label}) for (i, j), label in sketch.edges.items())
    return made


def oracle(a: Sketch, b: Sketch) -> float:
    """The distance by networkx, under the costs of the released code of the paper."""

    def ends(node: dict[str, str]) -> bool:
        return node["op"] in ("input", "output")

    def substitution(x: dict[str, str], y: dict[str, str]) -> int:
        return 0 if x["op"] == y["op"] else 100 if ends(x) or ends(y) else 1

    found: float = nx.graph_edit_distance(
        graph(a),
        graph(b),
        node_subst_cost=substitution,
        node_del_cost=lambda x: 100 if ends(x) else 1,
        node_ins_cost=lambda x: 100 if ends(x) else 1,
        edge_subst_cost=lambda x, y: int(x["op"] != y["op"]),
    )
    return found


def isomorphic(a: Sketch, b: Sketch) -> bool:
    def alike(x: dict[str, str], y: dict[str, str]) -> bool:
        return x["op"] == y["op"]

    return nx.is_isomorphic(graph(a), graph(b), node_match=alike, edge_match=alike)


@pytest.mark.parametrize("kinds", [("",), ("x", "y")])
def test_distances_are_exact(kinds: tuple[str, ...]) -> None:
    rng = random.Random(0)
    for _ in range(40):
        a, b = (drawn(rng, rng.randint(3, 5), kinds=kinds) for _ in range(2))
        assert distance(a, b) == distance(b, a) == oracle(a, b)


def test_distance_by_hand() -> None:
    chain = Sketch(("input", "a", "output"), {(0, 1): "", (1, 2): ""})
    relabelled = Sketch(("input", "b", "output"), dict(chain.edges))
    direct = Sketch(("input", "output"), {(0, 1): ""})
    assert distance(chain, relabelled) == 1
    assert distance(chain, direct) == 4  # two edges and a node go, an edge comes
    assert set(path(chain, direct)) == {
        Edit("edge", (0, 1), None),
        Edit("edge", (1, 2), None),
        Edit("edge", (0, 2), ""),
        Edit("node", (1,), None),
    }


def test_distance_is_a_metric_on_classes() -> None:
    rng, draws = random.Random(1), Draws(0, "metric")
    for _ in range(30):
        a, b, c = (drawn(rng, 5) for _ in range(3))
        assert distance(a, shuffled(a, draws)) == 0
        assert distance(a, b) == distance(shuffled(a, draws), shuffled(b, draws))
        assert distance(a, c) <= distance(a, b) + distance(b, c)


def test_the_whole_path_leads_to_the_other_graph() -> None:
    rng = random.Random(2)
    for _ in range(40):
        a, b = sorted((drawn(rng, rng.randint(3, 6)) for _ in range(2)), key=lambda g: -len(g.labels))
        end = apply(a, path(a, b))
        assert end is not None and isomorphic(end, b)
        assert isomorphic(apply(a, []) or b, a)


def test_half_a_path_lies_on_a_shortest_way() -> None:
    """The law of the catalogue: d(p, c) = k and d(c, q) = D − k, on 60 random pairs of four and five nodes."""
    rng, valid = random.Random(3), 0
    while valid < 60:
        a, b = sorted((drawn(rng, rng.randint(4, 5)) for _ in range(2)), key=lambda g: -len(g.labels))
        edits = path(a, b)
        taken = rng.sample(edits, math.ceil(len(edits) / 2))
        child = apply(a, taken)
        if child is None:  # a node goes and keeps an edge
            continue
        valid += 1
        assert distance(a, child) == len(taken)
        assert distance(child, b) == len(edits) - len(taken)


def test_edits_that_leave_an_edge_without_its_node_are_none() -> None:
    chain = Sketch(("input", "a", "output"), {(0, 1): "", (1, 2): ""})
    assert apply(chain, [Edit("node", (1,), None)]) is None
    gone = apply(chain, [Edit("node", (1,), None), Edit("edge", (0, 1), None), Edit("edge", (1, 2), None)])
    assert gone == Sketch(("input", "output"), {})


def test_topological_order_and_circles() -> None:
    assert topological(Sketch(("a", "b", "c"), {(2, 0): "", (0, 1): ""})) == [2, 0, 1]
    assert topological(Sketch(("a", "b"), {(0, 1): "", (1, 0): ""})) is None


def test_paths_that_cannot_be_are_refused() -> None:
    small, large = Sketch(("input", "output"), {}), Sketch(("input", "a", "output"), {})
    with pytest.raises(SpaceError, match="larger"):
        path(small, large)
    with pytest.raises(SpaceError, match="inputs or outputs"):
        path(large, Sketch(("input0", "a", "output"), {}))
