"""Spaces side by side: an architecture and its hyper-parameters, or several networks of an ensemble, as one architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mimar.core.errors import SpaceError, nearest
from mimar.space.architecture import Architecture
from mimar.space.space import Constraint, Space
from mimar.space.transforms.classes import Classes

PLACE = "/"  # between the name of a factor and the name of its choice


@dataclass(frozen=True)
class Product:
    """Every combination of the architectures of several spaces: `factors` are (name, space).

    The choice "width" of the factor "net" is "net/width"; conditions and constraints stay within their factor. Canonical
    form and simplification are those of the factors; there is no graph of the whole. Raises SpaceError on names that are
    empty, given twice or contain "/".
    """

    factors: tuple[tuple[str, Space], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.factors]
        if not names or len(set(names)) < len(names) or not all(n and PLACE not in n for n in names):
            raise SpaceError(f"the factors of a product need different names without {PLACE!r}, not {names!r}")

    @cached_property
    def space(self) -> Space:
        """The product as a space."""
        choices, constraints = [], []
        for name, factor in self.factors:
            for choice in factor.choices:
                when = tuple((_joined(name, parent), option) for parent, option in choice.when)
                choices.append(replace(choice, name=_joined(name, choice.name), when=when))
            constraints += [Within(name, constraint) for constraint in factor.constraints]
        return Space(choices, constraints, structure=Classes(self.canonical, self.simplify))

    def split(self, arch: Mapping[str, Any]) -> dict[str, Architecture]:
        """Return the architecture of every factor by its name."""
        return {name: part(arch, name) for name, _ in self.factors}

    def join(self, parts: Mapping[str, Mapping[str, Any]]) -> Architecture:
        """Return the architecture of the product; raises SpaceError where a factor has none or an unknown one has."""
        names = [name for name, _ in self.factors]
        if wrong := [*(n for n in names if n not in parts), *(n for n in parts if n not in names)]:
            raise SpaceError(
                nearest(wrong[0], names, kind="factor") if wrong[0] in parts else f"{wrong[0]!r} is missing"
            )
        return Architecture.trusted({_joined(n, name): value for n in names for name, value in parts[n].items()})

    def only(self, name: str) -> Only:
        """Return the map from an architecture of the product to that of one factor."""
        if name not in dict(self.factors):
            raise SpaceError(nearest(name, [n for n, _ in self.factors], kind="factor"))
        return Only(name)

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the architecture whose factors are in canonical form."""
        return self.join({name: factor.canonical(part(arch, name)) for name, factor in self.factors})

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the architecture whose factors are simplified."""
        return self.join({name: factor.simplify(part(arch, name)) for name, factor in self.factors})


@dataclass(frozen=True)
class Within:
    """A constraint of one factor, asked of architectures of the product."""

    name: str
    constraint: Constraint

    def __call__(self, arch: Architecture) -> bool:
        return self.constraint(part(arch, self.name))


@dataclass(frozen=True)
class Only:
    """The map from an architecture of a product to that of one factor."""

    name: str

    def __call__(self, arch: Architecture) -> Architecture:
        return part(arch, self.name)


def part(arch: Mapping[str, Any], name: str) -> Architecture:
    """Return the decisions of one factor, under their own names."""
    start = name + PLACE
    return Architecture.trusted({key[len(start) :]: value for key, value in arch.items() if key.startswith(start)})


def _joined(factor: str, name: str) -> str:
    return factor + PLACE + name
