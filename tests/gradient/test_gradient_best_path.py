"""The path of largest weight: equal to trying every path, and to the general derivation under constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from mimar import nets, space
from mimar.core.errors import SpaceError
from mimar.core.streams import stream
from mimar.gradient.derive import BestPath, Strongest
from mimar.space import Architecture, Chain, Choice, Space

GRID = space.of(nets.grid())


def drawn(of: Space, seed: int, sharp: float = 1.0) -> dict[str, Tensor]:
    rng = stream(seed, "gates")
    draw = {c.name: sharp * torch.randn(len(c.options), generator=rng, dtype=torch.float64) for c in of.choices}
    return {name: torch.softmax(alpha, 0) for name, alpha in draw.items()}


def weight(of: Space, gates: Mapping[str, Tensor], arch: Architecture) -> float:
    return math.prod(float(gates[n][of[n].options.index(v)]) for n, v in arch.items())


@pytest.mark.parametrize("sharp", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_best_of_all_paths_and_so_is_the_strongest(seed: int, sharp: float) -> None:
    gates = drawn(GRID, seed, sharp)
    best = max(GRID.enumerate(), key=lambda arch: weight(GRID, gates, arch))
    assert BestPath()(GRID, gates) == best
    assert Strongest()(GRID, gates) == best
    GRID.check(best)


def test_the_strongest_options_alone_do_not_meet() -> None:
    """So that the test above is one of the chain and not of each layer alone."""
    alone = 0
    for seed in range(8):
        gates = drawn(GRID, seed)
        greedy = Architecture({c.name: c.options[int(gates[c.name].argmax())] for c in GRID.choices})
        alone += GRID.valid(greedy)
    assert alone <= 4


def test_long_chains_take_no_time_and_only_permitted_options() -> None:
    options = tuple(f"{a}-{b}-{op}" for a in range(4) for b in range(4) for op in ("x", "y"))
    names = tuple(f"l{i}" for i in range(60))
    long = Space([Choice(n, options, never=("0-0-x",)) for n in names], (Chain(names),))
    gates = drawn(long, 3)
    found = BestPath()(long, gates)
    long.check(found)
    assert list(found) == list(names)
    for i in range(58):  # no two layers in the middle can be replaced by better ones with the same ends
        start, end = found[names[i]].split("-")[0], found[names[i + 1]].split("-")[1]
        pair = Space([long[names[i]], long[names[i + 1]]], (Chain(names[i : i + 2]),))
        ways = [
            a for a in pair.enumerate() if a[names[i]].startswith(f"{start}-") and f"-{end}-" in a[names[i + 1]][1:]
        ]
        best = max(weight(pair, gates, a) for a in ways)
        assert weight(pair, gates, Architecture({n: found[n] for n in names[i : i + 2]})) == pytest.approx(best)


def test_ties_zeros_and_one_layer() -> None:
    even = {c.name: torch.ones(len(c.options)) for c in GRID.choices}
    assert BestPath()(GRID, even) == {"layer1": "8-8-sep3", "layer2": "8-8-sep3", "layer3": "8-8-sep3"}
    arch = GRID.sample(stream(7))
    assert BestPath()(GRID, GRID.gates(arch)) == arch  # zeros elsewhere
    one = Space([Choice("a", ("1-2", "2-1"))], (Chain(("a",)),))
    assert BestPath()(one, {"a": torch.tensor([0.1, 0.9])}) == {"a": "2-1"}


def test_other_spaces_are_derived_by_strength() -> None:
    gates = drawn(GRID, 0)
    free, never = GRID.choices, Choice("layer2", ("1-2-x", "3-3-y"))
    for wrong in (
        Space(free),
        Space(free, (lambda arch: True,)),
        Space(free, (Chain(("layer1", "layer2")),)),
        Space(free, (*GRID.constraints, lambda arch: True)),
    ):
        assert BestPath()(wrong, gates) == Strongest()(wrong, gates)
    some = Space([Choice("a", ("1-1", "1-2"), "some", 1)])
    assert BestPath()(some, {"a": torch.ones(2)}) == Strongest()(some, {"a": torch.ones(2)})
    apart = Space([free[0], never], (Chain(("layer1", "layer2")),))
    with pytest.raises(SpaceError, match="no path leads through the choices layer1, layer2"):
        BestPath()(apart, {"layer1": torch.ones(6), "layer2": torch.ones(2)})
