"""Small steps in a space: neighbours, mutation, crossover."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from mimar.core.streams import Draws, below, uniforms
from mimar.space import counting
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice, Value

if TYPE_CHECKING:
    import torch

    from mimar.space.space import Space

FILLINGS = 64  # more ways than this to fill newly active choices are represented by their first options
TRIES = 1000
SEARCHED = 20_000  # spaces up to this size are looked through when constraints forbid every neighbour


def neighbours(space: Space, arch: Architecture) -> list[Architecture]:
    """Return all valid architectures that differ in one decision, by choice and then by value."""
    found: dict[Architecture, None] = {}
    for name in arch:
        for value in space[name].steps(arch[name]):
            fillings = list(islice(_fillings(space, {**arch, name: value}, {}, 0), FILLINGS + 1))
            if len(fillings) > FILLINGS:
                fillings = [space.complete({**arch, name: value}, Choice.first)]
            found |= {other: None for other in fillings if space.allows(other)}
    return list(found)


def _fillings(space: Space, values: dict[str, Value], made: dict[str, Value], index: int) -> Iterator[Architecture]:
    """Yield every way to complete `values`; a continuous choice is filled with its middle."""
    for i in range(index, len(space.ordered)):
        choice = space.ordered[i]
        if not choice.active(made):
            continue
        if choice.name not in values:
            for value in choice.outcomes or (choice.at(0.5),):
                yield from _fillings(space, values, {**made, choice.name: value}, i + 1)
            return
        made = {**made, choice.name: values[choice.name]}
    yield Architecture.trusted(made)


def mutate(space: Space, arch: Architecture, rng: torch.Generator | Draws) -> Architecture:
    """Return a random architecture one decision away; any other one where constraints forbid all of these."""
    movable = [name for name in arch if space[name].count > 1]
    for _ in range(TRIES if movable else 0):
        which, where = uniforms(rng, 2)
        name = movable[int(which * len(movable))]
        other = space.complete({**arch, name: _other(space[name], arch[name], where)}, space.filler(rng))
        if other != arch and space.allows(other):
            return other
    near = neighbours(space, arch)
    if near:
        return near[below(rng, len(near))]
    small = counting.count(space.ordered) <= SEARCHED
    return next((other for other in (space.enumerate() if small else ()) if other != arch), arch)


def _other(choice: Choice, value: Value, u: float) -> Value:
    if choice.kind == "value":
        return choice.at(u)
    others = choice.steps(value)
    return others[int(u * len(others))]


def crossover(space: Space, a: Architecture, b: Architecture, rng: torch.Generator | Draws) -> Architecture:
    """Return a valid child of two architectures, or one of them when constraints forbid every child tried."""
    for _ in range(TRIES):
        coins = uniforms(rng, len(space.ordered))
        mixed: dict[str, Value] = {}
        for choice, coin in zip(space.ordered, coins, strict=True):
            first, second = (a, b) if coin < 0.5 else (b, a)
            if choice.name in first or choice.name in second:
                mixed[choice.name] = first[choice.name] if choice.name in first else second[choice.name]
        child = space.complete(mixed, space.filler(rng))
        if space.allows(child):
            return child
    return a if uniforms(rng, 1)[0] < 0.5 else b
