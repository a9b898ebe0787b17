"""Free-form cells: which are the same network, counted against NAS-Bench-101's own enumeration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

from mimar.core.errors import SpaceError
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.space.dag import Connected, alive, dag
from mimar.testing import check_space

OPERATIONS = ("conv1x1", "conv3x3", "maxpool3x3")
SEVEN = dag(7, OPERATIONS, 9)


def cell(space: Space, edges: list[tuple[int, int]], *operations: str) -> Architecture:
    labels = ["input", *operations, "output"]
    return space.structure.architecture(labels, edges)  # type: ignore[union-attr]


def network(space: Space, arch: Architecture) -> nx.DiGraph:
    """The living part of a cell, by an independent library."""
    labels, edges = space.structure.parts(arch)  # type: ignore[union-attr]
    graph = nx.DiGraph(edges)
    last = len(labels) - 1
    kept = (nx.descendants(graph, 0) | {0}) & (nx.ancestors(graph, last) | {last})
    graph = nx.DiGraph(graph.subgraph(kept))
    nx.set_node_attributes(graph, {k: labels[k] for k in kept}, "label")
    return graph


def same(one: nx.DiGraph, two: nx.DiGraph) -> bool:
    return nx.is_isomorphic(one, two, node_match=lambda a, b: a["label"] == b["label"])


def test_a_space_of_cells_obeys_the_kit() -> None:
    check_space(dag(4, OPERATIONS, 5))


def test_classes_are_those_of_nasbench101() -> None:
    """Up to four and up to five vertices, three operations, nine edges: 91 and 2,532 cells in the published enumeration."""
    for nodes, classes in ((4, 91), (5, 2532)):
        space = dag(nodes, OPERATIONS, 9)
        assert len({space.canonical(arch) for arch in space.enumerate()}) == classes


def test_every_cell_of_the_table_is_a_class_of_its_own(needs_data: Callable[[str], Path]) -> None:
    with np.load(needs_data("nas/ecnas_nb101_small.npz"), allow_pickle=False) as held:
        count, matrices, operations = (held[name] for name in ("nv", "adj", "ops"))
    space, found = dag(5, OPERATIONS, 9), set()
    kinds = sorted({int(o) for row, n in zip(operations, count, strict=True) for o in row[1 : n - 1]})
    for n, matrix, row in zip(count.tolist(), matrices, operations.tolist(), strict=True):
        place = [*range(n - 1), 4]
        edges = [(place[i], place[j]) for i, j in zip(*np.nonzero(matrix[:n, :n]), strict=True)]
        inner = [OPERATIONS[kinds.index(o)] for o in row[1 : n - 1]]
        found.add(space.canonical(cell(space, edges, *inner, *["none"] * (5 - n))))
    assert len(found) == len(count) == 2532


def test_canonical_forms_agree_with_an_independent_isomorphism() -> None:
    draws = Draws(0, "isomorphism")
    space = dag(5, OPERATIONS[:2])
    archs = [space.sample(draws) for _ in range(60)]
    graphs = [network(space, arch) for arch in archs]
    for i, one in enumerate(archs):
        for j in range(i):
            assert (space.canonical(one) == space.canonical(archs[j])) == same(graphs[i], graphs[j])


def test_canonical_ignores_numbers_and_dead_nodes() -> None:
    draws = Draws(1, "numbers")
    for _ in range(30):
        arch = SEVEN.sample(draws)
        labels, edges = SEVEN.structure.parts(arch)  # type: ignore[union-attr]
        for order in list(permutations(range(1, 6)))[::17]:
            place = dict(zip((0, *order, 6), range(7), strict=True))
            moved = [(place[i], place[j]) for i, j in edges]
            if all(i < j for i, j in moved):
                other = SEVEN.structure.architecture(  # type: ignore[union-attr]
                    [labels[k] for k in (0, *order, 6)], moved
                )
                assert SEVEN.canonical(other) == SEVEN.canonical(arch)
    chains = [(0, 1), (0, 2), (3, 6), (4, 6)]  # two ways whose first nodes tie in all but what follows them
    one = cell(SEVEN, [*chains, (1, 3), (2, 4)], *["conv1x1"] * 2, "conv3x3", "maxpool3x3", "none")
    two = cell(SEVEN, [*chains, (1, 4), (2, 3)], *["conv1x1"] * 2, "conv3x3", "maxpool3x3", "none")
    assert SEVEN.canonical(one) == SEVEN.canonical(two)
    living = cell(SEVEN, [(0, 1), (1, 6)], *["conv1x1"] * 5)
    dead = cell(SEVEN, [(0, 1), (1, 6), (0, 2), (3, 6), (3, 4)], "conv1x1", *["maxpool3x3"] * 4)
    assert SEVEN.canonical(living) == SEVEN.canonical(dead) == SEVEN.simplify(dead)


def test_alive_by_hand() -> None:
    assert alive(4, [(0, 1), (1, 2), (0, 3), (3, 4), (2, 3)]) == [(0, 1), (0, 3), (1, 2), (2, 3), (3, 4)]
    assert alive(4, [(0, 1), (2, 4)]) == []
    assert alive(3, [(0, 3), (1, 2), (1, 3), (0, 2)]) == [(0, 3)]


def test_the_constraint_counts_living_edges_only() -> None:
    many = {f"edge/{i}-{j}": 1 for i in range(4) for j in range(i + 1, 4)}
    assert Connected(4, 6)(many) and not Connected(4, 5)(many)
    dead = {**dict.fromkeys(many, 0), "edge/0-3": 1, "edge/0-1": 1, "edge/0-2": 1, "edge/1-2": 1}
    assert Connected(4, 1)(dead)
    assert not Connected(4)({**dead, "edge/0-3": 0})


def test_graph_codes_come_back_as_the_same_network() -> None:
    archs = [SEVEN.sample(Draws(2, i)) for i in range(20)]
    codes = SEVEN.encode(archs, "graph")
    assert codes.labels.shape == (20, 7) and codes.adjacency.shape == (20, 7, 7)
    back = SEVEN.decode(codes, "graph")
    assert [SEVEN.canonical(a) for a in back] == [SEVEN.canonical(a) for a in archs]
    assert torch.equal(SEVEN.encode(back, "graph").adjacency, codes.adjacency)


def test_paths_by_hand() -> None:
    space = dag(4, ("a", "b"))
    arch = cell(space, [(0, 3), (0, 1), (1, 2), (2, 3), (1, 3)], "b", "a")
    # the empty way, "b", and "b a": 0, then 1 + 1, then 1 + 2 + number of (b, a) in base two
    assert space.structure.paths(arch) == [0, 2, 3 + 2]  # type: ignore[union-attr]
    assert space.structure.path_count == 1 + 2 + 4  # type: ignore[union-attr]
    assert space.encode([arch], "path").sum() == 3


def test_what_is_no_cell_is_refused() -> None:
    with pytest.raises(SpaceError, match="between 2 and 9 nodes"):
        dag(1, OPERATIONS)
    with pytest.raises(SpaceError, match="has no choice"):
        SEVEN.canonical(Architecture({"edge/0-1": 1}))
    with pytest.raises(SpaceError, match="label gelu"):
        SEVEN.structure.ungraph((["input", *["gelu"] * 5, "output"], [(0, 6)]))  # type: ignore[union-attr]
