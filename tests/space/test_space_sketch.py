"""Crossover along shortest edit paths: children lie between their parents, whatever the nodes are called."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import permutations

import pytest
from scipy.stats import chi2_contingency

from mimar import space
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.space.dag import dag
from mimar.space.sketch import edit_crossover, edit_distance, sketch, unsketch
from mimar.testing.strategy import small_space

CELLS = space.nasbench201()
FREE = dag(6, ("a", "b"))
SPACES = {"nasbench201": CELLS, "darts": space.darts(), "s2": space.darts(operations=space.S2), "dag": FREE}


def pairs(cells: Space, n: int, seed: int = 0) -> list[tuple[Architecture, Architecture]]:
    draws = Draws(seed, "pairs")
    return [(cells.sample(draws), cells.sample(draws)) for _ in range(n)]


@pytest.mark.parametrize("name", SPACES)
def test_a_drawing_comes_back(name: str) -> None:
    cells = SPACES[name]
    for arch, _ in pairs(cells, 20):
        drawn = sketch(cells.structure, arch)
        assert drawn is not None
        assert cells.canonical(unsketch(cells.structure, drawn)) == cells.canonical(arch)


@pytest.mark.parametrize("name", SPACES)
def test_children_lie_on_a_shortest_way_between_their_parents(name: str) -> None:
    cells, draws, made = SPACES[name], Draws(1, "children"), 0
    for a, b in pairs(cells, 25):
        child = edit_crossover(cells, a, b, draws)
        if child is None:
            continue
        made += 1
        far = edit_distance(cells, a, b)
        assert cells.valid(child)
        assert cells.canonical(child) not in (cells.canonical(a), cells.canonical(b))
        assert edit_distance(cells, a, child) == math.ceil(far / 2)
        assert edit_distance(cells, a, child) + edit_distance(cells, child, b) == far
    assert made >= 15


def test_the_rate_says_how_far_a_child_goes() -> None:
    for a, b in pairs(CELLS, 30, seed=2):
        far = edit_distance(CELLS, a, b)
        for rate in (0.2, 0.8):
            child = edit_crossover(CELLS, a, b, Draws(0, "rate"), rate=rate)
            if child is not None:
                assert edit_distance(CELLS, a, child) == math.ceil(rate * far)


def test_distances_do_not_see_numbers_of_nodes() -> None:
    cell = Architecture.from_nasbench201
    one = cell("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    two = cell("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|")
    assert one != two
    assert edit_distance(CELLS, one, two) == 0
    three = cell("|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|")
    assert edit_distance(CELLS, two, three) == 2  # another operation, and one more edge


def test_one_edit_apart_there_is_nothing_between() -> None:
    a = CELLS.sample(Draws(3, "near"))
    assert edit_crossover(CELLS, a, CELLS.mutate(a, Draws(0, "near")), Draws(0, "x")) is None
    assert edit_crossover(CELLS, a, a, Draws(0, "x")) is None


def renumbered(arch: Architecture) -> Architecture:
    """The same free-form cell under the last numbering that has its edges lead upwards."""
    labels, edges = FREE.structure.parts(arch)  # type: ignore[union-attr]
    for order in reversed(list(permutations(range(1, 5)))):
        place = dict(zip((0, *order, 5), range(6), strict=True))
        moved = [(place[i], place[j]) for i, j in edges]
        if all(i < j for i, j in moved):
            found: Architecture = FREE.structure.architecture(  # type: ignore[union-attr]
                [labels[k] for k in (0, *order, 5)], moved
            )
            return found
    raise AssertionError("the numbering that it has is one")


def test_the_numbering_of_a_parent_changes_no_distribution() -> None:
    """Children of (a, b) and of (a renumbered, b) have one law up to isomorphism; by decisions they have two."""
    edges = [(0, 1), (1, 2), (2, 5), (0, 3), (3, 4), (4, 5)]  # two ways of two nodes side by side
    a, b = (
        FREE.structure.architecture(["input", *labels, "output"], edges + more)  # type: ignore[union-attr]
        for labels, more in (("aabb", []), ("abba", [(0, 5), (1, 4)]))
    )
    other, draws = renumbered(a), Draws(4, "law")
    assert other != a and FREE.canonical(other) == FREE.canonical(a)

    def law(first: Architecture, cross: Callable[[Architecture, Architecture], Architecture | None]) -> Counter[str]:
        children = (cross(first, b) for _ in range(600))
        return Counter(FREE.canonical(c).digest for c in children if c is not None)

    def p(cross: Callable[[Architecture, Architecture], Architecture | None]) -> float:
        one, two = law(a, cross), law(other, cross)
        both = sorted({*one, *two})
        return float(chi2_contingency([[c[k] for k in both] for c in (one, two)]).pvalue)

    assert p(lambda x, y: edit_crossover(FREE, x, y, draws)) > 1e-3
    assert p(lambda x, y: FREE.crossover(x, y, draws)) < 1e-6


def test_spaces_without_a_graph_are_edited_by_decisions() -> None:
    plain, draws, made = small_space(), Draws(5, "plain"), 0
    for a, b in pairs(plain, 40):
        child = edit_crossover(plain, a, b, draws)
        if child is not None:
            made += 1
            assert plain.valid(child) and child not in (a, b)
            assert all(child[n] in (a.get(n), b.get(n)) for n in child)
    assert made >= 20
