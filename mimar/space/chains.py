"""The constraint of a path through layers: every layer takes what the one before it leaves; and how a path can grow.

Options are texts "start-end-kind", such as "8-16-conv3"; of the kind "skip" is an empty place, as "8-8-skip".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from mimar.core.errors import SpaceError, UsageError
from mimar.core.streams import Draws, uniforms
from mimar.space.choice import Choice

if TYPE_CHECKING:
    import torch

SKIP = "skip"


@dataclass(frozen=True)
class Chain:
    """Holds where each of the choices `names` starts at the width at which the one before it ends.

    Options are texts "start-end-…", such as "8-16-conv3". Raises SpaceError on options that are not.
    """

    names: tuple[str, ...]

    def __call__(self, arch: Mapping[str, Any]) -> bool:
        steps = [ends(arch[name]) for name in self.names]
        return all(end == start for (_, end), (start, _) in pairwise(steps))

    def draw(self, choices: Mapping[str, Choice], rng: torch.Generator | Draws) -> dict[str, str]:
        """Draw a path: each option by its prior, given that all meet; the law of drawing anew until they do.

            P(option | those before it) ∝ prior(option) · Σ over the paths that can follow of their priors

        Empty where no path exists.
        """
        weights: list[dict[str, float]] = []  # of each choice, the last first
        behind: dict[str, float] | None = None
        for name in reversed(self.names):
            choice = choices[name]
            prior = dict(zip(choice.options, choice.prior or [1.0] * len(choice.options), strict=True))
            rest = {o: 1.0 if behind is None else behind.get(ends(o)[1], 0.0) for o in choice.allowed}
            weights.append({o: prior[o] * w for o, w in rest.items()})
            behind = {}
            for option, weight in weights[-1].items():
                behind[ends(option)[0]] = behind.get(ends(option)[0], 0.0) + weight
        path: dict[str, str] = {}
        width = None
        for name, mass, u in zip(self.names, reversed(weights), uniforms(rng, len(self.names)), strict=True):
            able = [o for o, w in mass.items() if w and width in (None, ends(o)[0])]
            if not able:
                return {}
            within = tuple(accumulate(mass[o] for o in able))
            path[name] = able[min(bisect_right(within, u * within[-1]), len(able) - 1)]
            width = ends(path[name])[1]
        return path

    def edits(self, options: Mapping[str, Sequence[str]]) -> ChainEdits:
        """Return how architectures of a space grow; `options`: those of its choices. Raises UsageError where they cannot."""
        return ChainEdits(self.names, {name: tuple(map(str, options.get(name, ()))) for name in self.names})


def ends(option: str) -> tuple[str, str]:
    """Return (start, end) of an option "start-end-…"."""
    start, dash, rest = option.partition("-")
    end = rest.partition("-")[0]
    if not (start and dash and end):
        raise SpaceError(f"the option {option!r} of a chain must be written 'start-end-…', such as '8-16-conv3'")
    return start, end


def kind(option: str) -> str:
    """Return the kind of an option "start-end-kind"."""
    return option.split("-", 2)[2]


@dataclass(frozen=True)
class ChainEdits:
    """Steps by which a path grows and goes on computing what it did: a wider layer, an empty place that is filled.

    Raises UsageError where the options have no empty places, or widths that are no numbers.
    """

    names: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        words = [word for name in self.names for word in self.options[name]]
        plain = all(len(word.split("-", 2)) == 3 and all(end.isdecimal() for end in ends(word)) for word in words)
        empty = all(any(kind(word) == SKIP for word in self.options[name]) for name in self.names) if plain else False
        if not empty:
            raise UsageError(
                "growing needs a chain of places that can be empty, with options as '8-16-conv3' and '8-8-skip'; "
                "net=convnet has one"
            )

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a place can be filled with."""
        found = dict.fromkeys(kind(word) for name in self.names for word in self.options[name])
        return tuple(k for k in found if k != SKIP)

    @property
    def least(self) -> dict[str, str]:
        """The path that is as narrow as can be, all places empty."""
        width = min(int(ends(word)[0]) for word in self.options[self.names[0]])
        return dict.fromkeys(self.names, f"{width}-{width}-{SKIP}")

    def wider(self, path: Mapping[str, str], name: str) -> dict[str, str] | None:
        """Return the path with the next width where a layer ends, and no less behind it; None where there is none.

        An empty place has no width of its own.
        """
        start, end = ends(path[name])
        widths = sorted({int(ends(word)[1]) for word in self.options[name]})
        more = [w for w in widths if w > int(end)]
        if not more or kind(path[name]) == SKIP:
            return None
        found = {**path, name: f"{start}-{more[0]}-{kind(path[name])}"}
        width = more[0]
        for other in self.names[self.names.index(name) + 1 :]:
            out = width if kind(path[other]) == SKIP else max(width, int(ends(path[other])[1]))
            found[other] = f"{width}-{out}-{kind(path[other])}"
            width = out
        return found if all(found[one] in self.options[one] for one in self.names) else None

    def deeper(self, path: Mapping[str, str], name: str, what: str) -> dict[str, str] | None:
        """Return the path with an empty place filled, of the same width; None where it is not empty."""
        start, end = ends(path[name])
        option = f"{start}-{end}-{what}"
        return {**path, name: option} if kind(path[name]) == SKIP and option in self.options[name] else None
