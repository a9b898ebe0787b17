"""Poisoned spaces: copies of options, or new useless ones, that outnumber the good; and the guard that merges them again.

A choice with K options and n poisoned ones takes poison with probability n / (K + n) when it is drawn uniformly.
Wu, Saxena and Jain, "Poisoning the search space in neural architecture search", 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from mimar.core.errors import SpaceError, nearest
from mimar.core.ranges import Count, validate
from mimar.core.streams import Draws
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice
from mimar.space.space import Space
from mimar.space.transforms.image import Image, image


@dataclass(frozen=True)
class Poison:
    """Add `copies` options called "option#1", "option#2", … to every choice that has `option`, or to the `choices` named.

    Each stands for `like`, by default for `option` itself: a new useless option is given what it does as an option of
    the old space, so that a table of the old space answers. `known`: whether the new space knows that they are the same,
    and so has the old canonical form, graphs and paths; otherwise they look like any other option. Choices of the kind
    `one` only. Raises SpaceError where no choice has the option, or one named does not.
    """

    option: str = "none"
    copies: Count = 1
    like: str | None = None
    choices: tuple[str, ...] | None = None
    known: bool = False
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, space: Space) -> Image:
        """Return the poisoned space; back replaces every copy by what it stands for."""
        like = self.option if self.like is None else self.like
        targets = [space[n] for n in self.choices] if self.choices is not None else _with(space, like)
        for choice in targets:
            if choice.kind != "one":
                raise SpaceError(f"choice {choice.name!r} is of kind {choice.kind!r}; only 'one' can be poisoned")
            if like not in choice.allowed:
                raise SpaceError(f"choice {choice.name!r}: " + nearest(like, map(str, choice.allowed), kind="option"))
        if not targets:
            raise SpaceError(f"no choice of this space has the option {like!r}")
        names = {c.name for c in targets}
        copies = tuple(f"{self.option}#{i}" for i in range(1, self.copies + 1))
        made = [self._poisoned(c, names, like, copies) for c in space.choices]
        return image(space, made, Copies(frozenset(names), copies, like), known=self.known)

    def _poisoned(self, choice: Choice, names: set[str], like: str, copies: tuple[str, ...]) -> Choice:
        more = tuple((p, copy) for p, o in choice.when if p in names and o == like for copy in copies)
        if choice.name in names:
            prior = choice.prior and (*choice.prior, *[choice.prior[choice.options.index(like)]] * len(copies))
            choice = replace(choice, options=(*choice.options, *copies), prior=prior)
        return replace(choice, when=(*choice.when, *more))


def _with(space: Space, option: str) -> list[Choice]:
    return [c for c in space.choices if c.kind == "one" and option in c.allowed]


@dataclass(frozen=True)
class Copies:
    """The ways out of a poisoned space: in the choices `names`, each of `copies` stands for `like`."""

    names: frozenset[str]
    copies: tuple[str, ...]
    like: str

    def back(self, arch: Architecture) -> Architecture:
        """Replace copies by what they stand for."""
        copies, names, like = self.copies, self.names, self.like
        return Architecture.trusted({n: like if v in copies and n in names else v for n, v in arch.items()})

    def forth(self, arch: Architecture) -> Architecture:
        """Return the architecture itself: the old options are still there."""
        return arch


@dataclass(frozen=True)
class Merge:
    """The guard: keep one of several options of a choice that are the same wherever they stand.

    Two options are the same when exchanging them leaves the canonical form as it is in `samples` random architectures of
    different classes (fewer where 16 times as many draws give no more: where poison is frequent, most draws are one dead
    network, which tells nothing apart). The first of them stays, with its own prior. A space without classes of its own
    loses nothing.
    """

    samples: Count = 128
    seed: int = 0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, space: Space) -> Image:
        """Return the space without repetitions; forth replaces an option by the one that stayed."""
        draws = Draws(self.seed, "merge")
        classes: dict[Architecture, Architecture] = {}
        for _ in range(16 * self.samples):
            if len(classes) < self.samples:
                arch = space.sample(draws)
                classes.setdefault(space.canonical(arch), arch)
        drawn = list(classes.values())
        kept = {c.name: _kept(space, c, drawn) for c in space.choices if c.kind == "one" and c.count > 1}
        made = []
        for choice in space.choices:
            to = kept.get(choice.name, {})
            left = [o for o in choice.options if to.get(o, o) == o]
            when = tuple((p, o) for p, o in choice.when if kept.get(p, {}).get(o, o) == o)
            weight = dict(zip(choice.options, choice.prior, strict=True)) if choice.prior else None
            prior = tuple(weight[o] for o in left) if weight else None
            made.append(
                replace(choice, options=tuple(left), prior=prior, when=when) if to else replace(choice, when=when)
            )
        return image(space, made, Representatives(tuple((n, tuple(to.items())) for n, to in kept.items())))


def _kept(space: Space, choice: Choice, drawn: list[Architecture]) -> dict[Any, Any]:
    """Return, for every allowed option of a choice, the first one that is the same."""

    def forms(option: Any) -> tuple[Architecture, ...]:
        active = [a for a in drawn if choice.name in a]
        return tuple(space.canonical(space.complete({**a, choice.name: option}, Choice.first)) for a in active)

    first: dict[Any, Any] = {}
    return {o: first.setdefault(f, o) if (f := forms(o)) else o for o in choice.allowed}


@dataclass(frozen=True)
class Representatives:
    """The ways into a space without repetitions: `kept` says, by choice, which option stands for which."""

    kept: tuple[tuple[str, tuple[tuple[Any, Any], ...]], ...]

    def back(self, arch: Architecture) -> Architecture:
        """Return the architecture itself: every option that stayed was there before."""
        return arch

    def forth(self, arch: Architecture) -> Architecture:
        """Replace every option by the one that stayed."""
        to = {name: dict(pairs) for name, pairs in self.kept}
        return Architecture.trusted({n: to.get(n, {}).get(v, v) if n in to else v for n, v in arch.items()})
