"""Stop once too many skips would be derived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mimar.core.errors import UsageError, nearest
from mimar.core.ranges import Count, validate
from mimar.gradient.schedule.parts import History, Stop


@dataclass(frozen=True)
class SkipCount:
    """Stop at the first epoch whose derived architecture has at least `limit` skips.

    `cell`: count those of the choices called ``cell/…`` only; empty for the whole architecture.
    Source: DARTS+ (Liang et al., 2019), criterion 1: two or more skips in the normal cell, `cell="normal"`.
    """

    limit: Count = 2
    cell: str = ""
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, history: History) -> Stop | None:
        """Return the stop, at the epoch that brought the limit; raises UsageError where no choice is called cell/…."""
        for entry in history:
            if self.cell and self.cell not in entry["skips_by"]:
                raise UsageError(nearest(self.cell, entry["skips_by"], kind="cell"))
            if (entry["skips_by"][self.cell] if self.cell else entry["skips"]) >= self.limit:
                return Stop(entry["epoch"])
        return None
