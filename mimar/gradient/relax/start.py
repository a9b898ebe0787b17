"""A search that begins at a known network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from torch import Tensor

from mimar.core.errors import SpaceError, nearest
from mimar.core.ranges import validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, Relaxation, keeps, settle
from mimar.space import Space


@dataclass(frozen=True)
class Start:
    """Another relaxation whose alphas start with a lead of `logit` for given options.

        α_o ← α_o + logit,    for every (pattern, option o) whose pattern is the choice's name

    `options`: pairs of a pattern in the way of file names ("normal/*") and an option, or of all options that lead (a
    tuple: the edges of a choice of kind `some`); a mapping such as an Architecture is as good. Choices that no pattern
    names start as the other relaxation says; choices without alphas have nothing to lead, whatever names them.
    init raises SpaceError for a pattern that no choice of the space has, and for an option that a choice does not have.
    Source: DARTOpti (Heuillet et al., 2021): logit 10 on the operations of a ResNet or Xception.
    """

    inside: Relaxation
    options: tuple[tuple[str, Any], ...] | Mapping[str, Any] | Callable[[Space], Mapping[str, Any]]
    logit: float = 10.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not callable(self.options):
            pairs = self.options.items() if isinstance(self.options, Mapping) else self.options
            object.__setattr__(self, "options", tuple((pattern, option) for pattern, option in pairs))
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return the other relaxation's alphas, with the lead."""
        found = self.inside.init(space, rng)
        options = self.options(space).items() if callable(self.options) else self.options
        for pattern, given in tuple(options):
            choices = [c for c in space.choices if fnmatchcase(c.name, pattern)]
            if not choices:
                raise SpaceError(nearest(pattern, (c.name for c in space.choices), kind="choice"))
            for choice in (c for c in choices if c.name in found):
                for option in given if isinstance(given, tuple) else (given,):
                    if option not in choice.options:
                        known = map(str, choice.options)
                        raise SpaceError(nearest(str(option), known, kind=f"option of {choice.name!r}"))
                    found[choice.name][choice.options.index(option)] += self.logit
        return found

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return the other relaxation's gates."""
        return self.inside.gates(alphas, ctx)

    def keeps(self, space: Space) -> dict[str, Tensor]:
        """Return what the other relaxation keeps."""
        return keeps(self.inside, space)

    def settle(self, alphas: dict[str, Tensor], before: Alphas, ctx: Context) -> None:
        """Let the other relaxation follow up an outer step."""
        settle(self.inside, alphas, before, ctx)
