"""The constraint of a path through layers: every layer takes what the one before it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mimar.core.errors import SpaceError


@dataclass(frozen=True)
class Chain:
    """Holds where each of the choices `names` starts at the width at which the one before it ends.

    Options are texts "start-end-…", such as "8-16-conv3". Raises SpaceError on options that are not.
    """

    names: tuple[str, ...]

    def __call__(self, arch: Mapping[str, Any]) -> bool:
        steps = [ends(arch[name]) for name in self.names]
        return all(end == start for (_, end), (start, _) in pairwise(steps))


def ends(option: str) -> tuple[str, str]:
    """Return (start, end) of an option "start-end-…"."""
    start, dash, rest = option.partition("-")
    end = rest.partition("-")[0]
    if not (start and dash and end):
        raise SpaceError(f"the option {option!r} of a chain must be written 'start-end-…', such as '8-16-conv3'")
    return start, end
