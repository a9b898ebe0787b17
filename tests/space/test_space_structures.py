"""Published cells: canonical forms against the table, simplification, codes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mimar import space
from mimar.core.errors import SpaceError, UsageError
from mimar.core.streams import stream
from mimar.space import NASBENCH201_OPERATIONS, Architecture, Choice, Space

CELLS = space.nasbench201()
ALL = list(CELLS.enumerate())
DARTS_SPACES = {
    "darts": space.darts(),
    "darts3": space.darts(nodes=3),
    "s1": space.darts(operations=space.S1),
    "s2": space.darts(operations=space.S2),
}


def cell(*operations: str) -> Architecture:
    return Architecture(dict(zip([c.name for c in CELLS.choices], operations, strict=True)))


@pytest.fixture(scope="module")
def table(needs_data: Callable[[str], Path]) -> dict[str, np.ndarray]:
    return dict(np.load(needs_data("nas/nasbench201.npz")))


def test_enumeration_has_the_official_index(table: dict[str, np.ndarray]) -> None:
    numbers = [[NASBENCH201_OPERATIONS.index(o) for o in arch.values()] for arch in ALL]
    assert np.array_equal(np.array(numbers), table["cell"])


def test_canonical_is_the_partition_of_the_table(table: dict[str, np.ndarray]) -> None:
    index = {arch: i for i, arch in enumerate(ALL)}
    assert [index[CELLS.canonical(arch)] for arch in ALL] == table["isomorph"].tolist()


def test_canonical_has_6466_classes_quickly() -> None:
    began = time.perf_counter()
    classes = {CELLS.canonical(arch) for arch in ALL}
    assert time.perf_counter() - began < 2.0
    assert len(ALL) == len(set(ALL)) == 15_625
    assert len(classes) == 6_466
    assert all(CELLS.canonical(arch) == arch for arch in classes)
    first = {}
    for arch in ALL:
        first.setdefault(CELLS.canonical(arch), arch)
    assert all(arch == representative for representative, arch in first.items())  # the lowest official index


def test_official_landmarks() -> None:
    best = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    assert ALL[6111].to_nasbench201() == best
    assert set(ALL[1835].values()) == {"skip_connect"}
    assert set(ALL[1462].values()) == {"nor_conv_3x3"}
    assert set(ALL[1651].values()) == {"none"}


def test_canonical_keeps_the_prefix_and_rejects_others() -> None:
    other = space.nasbench201("stage/1")
    assert set(other.canonical(other.sample(stream(0, "x")))) == {c.name for c in other.choices}
    with pytest.raises(SpaceError, match="no choice 'cell/0-1'"):
        CELLS.canonical(Architecture({"a": "b"}))


def test_simplify_removes_what_cannot_matter() -> None:
    c3, c1, skip, none = "nor_conv_3x3", "nor_conv_1x1", "skip_connect", "none"
    # nothing enters node 1: what leaves it is dead
    assert CELLS.simplify(cell(none, c3, c1, skip, c3, c3)) == cell(none, c3, none, skip, none, c3)
    # nothing leaves node 2: what enters it is dead
    assert CELLS.simplify(cell(c3, c3, c1, skip, c3, none)) == cell(c3, none, none, skip, c3, none)
    # nothing leads to the output: everything is dead
    assert CELLS.simplify(cell(c3, c3, c1, none, none, none)) == cell(*[none] * 6)
    # skip connections stay
    assert CELLS.simplify(cell(*[skip] * 6)) == cell(*[skip] * 6)


def test_simplify_is_stronger_than_canonical() -> None:
    simple = {arch: CELLS.simplify(arch) for arch in ALL}
    assert all(simple[s] == s for s in simple.values())
    stronger = {arch: CELLS.canonical(simple[arch]) for arch in ALL}
    assert len(set(stronger.values())) == 6_285


def live_edges(arch: Architecture) -> set[str]:
    """Names of edges on some way from 0 to 3 without none, by listing the four ways."""
    found: set[str] = set()
    for way in ((0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)):
        names = [f"cell/{i}-{j}" for i, j in itertools.pairwise(way)]
        if all(arch[name] != "none" for name in names):
            found |= set(names)
    return found


def test_simplify_keeps_exactly_the_edges_on_a_way_to_the_output() -> None:
    for arch in ALL[::7]:
        live = live_edges(arch)
        assert CELLS.simplify(arch) == {n: o if n in live else "none" for n, o in arch.items()}


def renamed(arch: Architecture, cell_name: str, label: dict[int, int]) -> Architecture | None:
    """Rename the nodes of one cell; None where an input would not precede its node."""
    items = {name: v for name, v in arch.items() if not name.startswith(cell_name)}
    for j in (j for j in label if j > 1):
        inputs = [int(i) for i in arch[f"{cell_name}/node{j}"]]
        if any(label[i] >= label[j] for i in inputs):
            return None
        items[f"{cell_name}/node{label[j]}"] = tuple(str(i) for i in sorted(label[i] for i in inputs))
        items |= {f"{cell_name}/{label[i]}-{label[j]}": arch[f"{cell_name}/{i}-{j}"] for i in inputs}
    return Architecture(items)


@pytest.mark.parametrize("name", DARTS_SPACES)
def test_darts_canonical_is_one_for_all_orders_of_the_nodes(name: str) -> None:
    cells = DARTS_SPACES[name]
    nodes = [int(n.removeprefix("normal/node")) for n in (c.name for c in cells.choices) if n.startswith("normal/node")]
    rng = stream(0, "darts")
    renamings = 0
    for _ in range(20):
        arch = cells.sample(rng)
        least = cells.canonical(arch)
        cells.check(least)
        assert cells.canonical(least) == least
        assert cells.simplify(arch) == arch
        for order in itertools.permutations(nodes):
            label = {0: 0, 1: 1, **dict(zip(nodes, order, strict=True))}
            for cell_name in ("normal", "reduce"):
                other = renamed(arch, cell_name, label)
                if other is not None and other != arch and cells.valid(other):
                    renamings += 1
                    assert cells.canonical(other) == least
    assert renamings > 20 or name == "s1"


def test_darts_canonical_separates_different_cells() -> None:
    cells = space.darts(nodes=2, operations=("skip_connect", "sep_conv_3x3"))
    classes: dict[Architecture, int] = {}
    for arch in cells.enumerate():
        classes[cells.canonical(arch)] = classes.get(cells.canonical(arch), 0) + 1
    # a cell has 4·(4 + 8) = 48 forms: of the 16 where both nodes take the inputs, 12 fall into 6 pairs, so 42 are left
    assert len(classes) == 42**2
    assert sum(classes.values()) == cells.size() == 48**2


@pytest.mark.parametrize("kind", ["onehot", "unit-cube", "tokens", "graph"])
def test_codes_round_trip(kind: str) -> None:
    rng = stream(0, "codes")
    for cells in (CELLS, *DARTS_SPACES.values()):
        archs = [cells.sample(rng) for _ in range(30)]
        assert cells.decode(cells.encode(archs, kind), kind) == archs
        assert len(cells.encode([], kind)[0] if kind == "graph" else cells.encode([], kind)) == 0


def test_codes_of_any_space() -> None:
    mixed = Space(
        [
            Choice("optimizer", ("sgd", "adam")),
            Choice("lr", (1e-4, 1.0), "value", log=True),
            Choice("momentum", (0.0, 1.0), "value", when=(("optimizer", "sgd"),)),
            Choice("width", (8, 16, 32), "size"),
        ]
    )
    rng = stream(0, "mixed")
    archs = [mixed.sample(rng) for _ in range(20)]
    assert mixed.encode(archs).shape == (20, 2 + 1 + 1 + 3)
    cube = mixed.encode(archs, "unit-cube")
    assert cube.shape == (20, 4)
    for arch, again in zip(archs, mixed.decode(cube, "unit-cube"), strict=True):
        assert again.keys() == arch.keys()
        assert again["lr"] == pytest.approx(arch["lr"])
        assert (again["width"], again["optimizer"]) == (arch["width"], arch["optimizer"])
    for arch in mixed.decode(torch.randn(50, 7), "onehot") + mixed.decode(torch.randn(50, 4), "unit-cube"):
        mixed.check(arch)
    with pytest.raises(UsageError, match="'lr' has no tokens"):
        mixed.encode(archs, "tokens")
    for kind in ("path", "graph"):
        with pytest.raises(UsageError, match="no graph structure"):
            mixed.encode(archs, kind)


def test_paths() -> None:
    c3, skip, none = "nor_conv_3x3", "skip_connect", "none"
    code = CELLS.encode([cell(c3, none, none, skip, skip, none), cell(*[none] * 6), cell(*[skip] * 6)], "path")
    assert code.shape == (3, 4 + 16 + 64)
    # operations in order skip, 1×1, 3×3, pool: [skip] is 0, [3×3, skip] is 4 + 2·4
    assert code[0].nonzero().flatten().tolist() == [0, 12]
    assert code[1].sum() == 0
    assert code[2].nonzero().flatten().tolist() == [0, 4, 20]
    cells = space.darts(nodes=2, operations=("skip_connect", "sep_conv_3x3"))
    arch = cells.sample(stream(0, "paths"))
    row = cells.encode([arch], "path")[0]
    assert row.shape == (2 * 2 * (2 + 4),)
    for name in ("normal", "reduce"):
        cell_row = row[:12] if name == "normal" else row[12:]
        first = [("skip_connect", "sep_conv_3x3").index(arch[f"{name}/{i}-2"]) for i in (0, 1)]
        assert cell_row[first[0]] == 1
        assert cell_row[6 + first[1]] == 1
    with pytest.raises(UsageError, match="cannot be decoded"):
        cells.decode(row, "path")


def test_graph_codes_are_graphs() -> None:
    codes = CELLS.encode(ALL[:5], "graph")
    assert codes.labels.shape == (5, 8)
    assert codes.adjacency.shape == (5, 8, 8)
    assert torch.equal(codes.adjacency, codes.adjacency.triu(1))
    assert codes.vocabulary[:2] == ("input", "output")
    darts = space.darts().encode([space.darts().sample(stream(0, "x"))], "graph")
    assert darts.adjacency.shape == (1, 30, 30)
    assert torch.equal(darts.adjacency, darts.adjacency.triu(1))
    into = darts.adjacency[0].sum(0)
    kinds = [darts.vocabulary[i] for i in darts.labels[0]]
    assert {(k, int(n)) for k, n in zip(kinds, into, strict=True) if k in ("input0", "sum", "output")} == {
        ("input0", 0),
        ("sum", 2),
        ("output", 4),
    }


def test_unknown_encodings() -> None:
    with pytest.raises(UsageError, match="did you mean 'onehot'"):
        CELLS.encode(ALL[:1], "one-hot")
    with pytest.raises(UsageError, match=r"\(N, 30\), not \(2, 3\)"):
        CELLS.decode(torch.zeros(2, 3), "onehot")
    with pytest.raises(SpaceError, match="decides nothing"):
        CELLS.encode([Architecture({"cell/0-1": "none"})])


def test_published_space_lists() -> None:
    for name in ("normal", "reduce"):
        pairs = space.edge_operations(name, 4, space.S1)
        assert len(pairs) == 14
        assert all(len(set(pair)) == 2 for pair in pairs)
    assert space.darts(operations=space.S1)["normal/0-4"].options == ("max_pool_3x3", "skip_connect")
    assert space.darts(operations=space.S3)["reduce/2-5"].never == ("none",)
    with pytest.raises(SpaceError, match="has 5 edges, but operations are given for 14"):
        space.darts(nodes=2, operations=space.S1)
