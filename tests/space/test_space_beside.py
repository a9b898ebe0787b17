"""Choices beside a network: taken apart and put together, and never part of a graph."""

from __future__ import annotations

import pytest

from mimar.core.errors import SpaceError
from mimar.core.streams import Draws
from mimar.space import Choice, Space, darts, nasbench201
from mimar.space.beside import beside, network, recipe

MORE = (Choice("recipe/lr", (0.001, 1.0), "value", log=True), Choice("recipe/batch", (16, 32), "size"))


@pytest.mark.parametrize("space", [nasbench201(), darts(nodes=2)], ids=["nasbench201", "darts"])
def test_the_structure_reads_the_network_alone_and_keeps_the_rest(space: Space) -> None:
    both = beside(space, MORE)
    structure = space.structure
    assert structure is not None and both.structure is not None and both.layout == space.layout
    draws = Draws(0, "beside")
    for _ in range(20):
        arch = both.sample(draws)
        own, rest = network(arch), recipe(arch)
        assert set(rest) == {"lr", "batch"} and space.valid(own) and len(own) + 2 == len(arch)
        for rule in ("canonical", "simplify"):
            found = getattr(both, rule)(arch)
            assert network(found) == getattr(space, rule)(own) and recipe(found) == rest and both.valid(found)
        assert both.structure.graph(arch) == structure.graph(own)
        assert both.structure.paths(arch) == structure.paths(own)
        assert both.structure.ungraph(both.structure.graph(arch)) == structure.ungraph(structure.graph(own))


def test_what_is_written_is_read_with_the_same_structure() -> None:
    both = beside(nasbench201(), MORE)
    again = Space.from_json(both.to_json(), layout=both.layout)
    assert again.structure == both.structure and again.choices == both.choices


def test_every_combination_is_enumerated() -> None:
    small = beside(Space([Choice("op", ("a", "b"))]), MORE[1:])
    assert [dict(a) for a in small.enumerate()] == [{"op": o, "recipe/batch": b} for o in ("a", "b") for b in (16, 32)]
    assert beside(nasbench201(), MORE[1:]).size() == 2 * 15_625


def test_nothing_beside_is_the_space_itself_and_names_say_where_they_belong() -> None:
    space = nasbench201()
    assert beside(space, ()).structure is space.structure
    arch = space.sample(Draws(0, "one"))
    assert network(arch) is arch and recipe(arch) == {}
    with pytest.raises(SpaceError, match="is called recipe/NAME, not 'lr'"):
        beside(space, [Choice("lr", (1, 2), "size")])
