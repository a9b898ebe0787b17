"""Choices beside a network: how it is trained. Their names begin with "recipe/", and no model ever has one of them.

An architecture of such a space says both; `network` and `recipe` take it apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mimar.core.errors import SpaceError
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice
from mimar.space.space import Space
from mimar.space.structures import RECIPE, Graph, Structure


def beside(space: Space, choices: Iterable[Choice]) -> Space:
    """Return the space with further choices beside its own; its structure reads the network's alone.

    Raises SpaceError for a choice whose name does not begin with "recipe/".
    """
    more = tuple(choices)
    for choice in more:
        if not choice.name.startswith(RECIPE):
            raise SpaceError(f"a choice beside a network is called {RECIPE}NAME, not {choice.name!r}")
    structure = space.structure if space.structure is None else Alone(space.structure)
    return Space((*space.choices, *more), space.constraints, structure if more else space.structure)


def network(arch: Mapping[str, Any]) -> Architecture:
    """Return what an architecture says of the network."""
    if isinstance(arch, Architecture) and not any(name.startswith(RECIPE) for name in arch):
        return arch
    return Architecture.trusted({name: value for name, value in arch.items() if not name.startswith(RECIPE)})


def recipe(arch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an architecture says of its training, without the prefix."""
    return {name.removeprefix(RECIPE): value for name, value in arch.items() if name.startswith(RECIPE)}


@dataclass(frozen=True)
class Alone:
    """The structure of the network, where other choices stand beside it: they are kept as they are, and are in no graph."""

    of: Structure

    @property
    def layout(self) -> str | None:
        """That of the network."""
        return self.of.layout

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """That of the network."""
        return self.of.vocabulary

    @property
    def path_count(self) -> int:
        """That of the network."""
        return self.of.path_count

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the network in canonical form, trained alike."""
        return self._with(self.of.canonical(network(arch)), arch)

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the network simplified, trained alike."""
        return self._with(self.of.simplify(network(arch)), arch)

    def enumerate(self) -> Iterator[Architecture] | None:
        """Return None: the published order is one of networks."""
        return None

    def paths(self, arch: Architecture) -> list[int]:
        """Return those of the network."""
        return self.of.paths(network(arch))

    def graph(self, arch: Architecture) -> Graph:
        """Return that of the network."""
        return self.of.graph(network(arch))

    def ungraph(self, graph: Graph) -> Architecture:
        """Return the network; a graph does not say how it is trained."""
        return self.of.ungraph(graph)

    @staticmethod
    def _with(net: Architecture, arch: Architecture) -> Architecture:
        rest = {name: value for name, value in arch.items() if name.startswith(RECIPE)}
        return Architecture.trusted({**net, **rest})
