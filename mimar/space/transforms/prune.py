"""Spaces made smaller: options removed, constraints added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from mimar.core.errors import SpaceError, nearest
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice, holds
from mimar.space.space import Constraint, Space
from mimar.space.transforms.image import Image, Same, image

Decision = tuple[str, Any]  # the name of a choice, and one of its options


@dataclass(frozen=True)
class Prune:
    """Remove options: `removed` names them as (choice, option).

    Choices that were active with removed options only go too. Raises SpaceError on options that are not there, and where
    a choice would keep too few.
    """

    removed: tuple[Decision, ...]
    version: ClassVar[int] = 1

    def __call__(self, space: Space) -> Image:
        """Return the smaller space; architectures are written as before."""
        gone = set(self.removed)
        for name, option in self.removed:
            if option not in space[name].allowed or space[name].kind == "value":
                raise SpaceError(
                    f"choice {name!r}: " + nearest(str(option), map(str, space[name].allowed), kind="option")
                )
        kept: dict[str, Choice] = {}
        for choice in space.ordered:
            when = tuple((p, o) for p, o in choice.when if p in kept and (p, o) not in gone)
            if choice.when and not when:
                continue  # it can never be active
            kept[choice.name] = _without(replace(choice, when=when), gone)
        return image(space, [kept[c.name] for c in space.choices if c.name in kept], Same())


def _without(choice: Choice, gone: set[Decision]) -> Choice:
    left = [o for o in choice.options if (choice.name, o) not in gone]
    if len(left) == len(choice.options):
        return choice
    never = tuple(o for o in choice.never if o in left)
    if len(left) - len(never) < choice.k:
        raise SpaceError(f"choice {choice.name!r} would keep {len(left) - len(never)} options; it needs {choice.k}")
    weight = dict(zip(choice.options, choice.prior, strict=True)) if choice.prior else None
    prior = tuple(weight[o] for o in left) if weight else None
    return replace(choice, options=tuple(left), prior=prior, never=never)


def weakest(space: Space, effects: Mapping[Decision, float], most: int) -> Prune:
    """Return the prune of up to `most` options with the most negative effects, worst first, as far as every choice keeps enough.

    `effects` says by how much an option raises what is to be maximised, as SHAP values of a predictor do, averaged over
    the architectures that use it; options without a negative effect stay. Luo et al., "Accelerating neural architecture
    search via data-driven search space pruning", 2021, first order; unlike the authors' code, options that stay do not
    count towards `most`.
    """
    left = {c.name: len(c.allowed) - c.k for c in space.choices}
    removed: list[Decision] = []
    for (name, option), effect in sorted(effects.items(), key=lambda e: (e[1], str(e[0]))):
        if effect < 0 and len(removed) < most and left[space[name].name] > 0:
            left[name] -= 1
            removed.append((name, option))
    return Prune(tuple(removed))


@dataclass(frozen=True)
class Restrict:
    """Add a constraint, a function from an architecture to a bool."""

    constraint: Constraint
    version: ClassVar[int] = 1

    def __call__(self, space: Space) -> Image:
        """Return the smaller space; architectures are written as before."""
        return image(space, space.choices, Same(), (self.constraint,))


@dataclass(frozen=True)
class Without:
    """Holds where no set of decisions in `sets` is taken as a whole: pairs, to prune by interactions of two options."""

    sets: tuple[tuple[Decision, ...], ...]

    def __call__(self, arch: Architecture) -> bool:
        return not any(all(taken(arch, name, option) for name, option in decisions) for decisions in self.sets)


def taken(arch: Mapping[str, Any], name: str, option: Any) -> bool:
    """Tell whether an architecture takes an option; one of several for the kind `some`."""
    return name in arch and holds(arch[name], option)


@dataclass(frozen=True)
class Not:
    """Holds where another constraint does not."""

    constraint: Constraint

    def __call__(self, arch: Architecture) -> bool:
        return not self.constraint(arch)


@dataclass(frozen=True)
class Active:
    """Holds where a choice is active."""

    name: str

    def __call__(self, arch: Architecture) -> bool:
        return self.name in arch


@dataclass(frozen=True)
class Partition:
    """Split a space by what one choice takes: a part for every group of its options, disjoint and together all of it.

    Architectures in which the choice is inactive are in the first part. Raises SpaceError where the groups do not hold
    every option once, and for choices of the kinds `some` and `value`, which are split by a predicate.
    """

    choice: str
    groups: tuple[tuple[Any, ...], ...]
    version: ClassVar[int] = 1

    def __call__(self, space: Space) -> tuple[Image, ...]:
        """Return one space a group."""
        choice = space[self.choice]
        if choice.kind not in ("one", "size"):
            raise SpaceError(f"choice {choice.name!r} is of kind {choice.kind!r}; split such a space by a predicate")
        listed = [o for group in self.groups for o in group]
        if sorted(map(str, listed)) != sorted(map(str, choice.allowed)) or not all(self.groups):
            raise SpaceError(
                f"the groups of {choice.name!r} must hold each of {choice.allowed!r} once; got {self.groups!r}"
            )
        found = []
        for number, group in enumerate(self.groups):
            part = Prune(tuple((choice.name, o) for o in listed if o not in group))(space)
            if choice.when and number:
                part = Image(Restrict(Active(choice.name))(part.space).space, space, Same())
            found.append(part)
        return tuple(found)


@dataclass(frozen=True)
class Split:
    """Split a space in two by a predicate: where it holds, and where it does not."""

    predicate: Constraint
    version: ClassVar[int] = 1

    def __call__(self, space: Space) -> tuple[Image, Image]:
        """Return both parts."""
        return Restrict(self.predicate)(space), Restrict(Not(self.predicate))(space)
