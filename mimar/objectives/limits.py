"""Limits on costs: asked before a query is spent, on what is known of an architecture without training it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mimar.core.errors import UsageError, nearest

WRITTEN = re.compile(r"\s*([\w.-]+)\s*(<=|>=)\s*([^<>=]+)")


@dataclass(frozen=True)
class Limit:
    """least ≤ cost ≤ most, in the cost's own unit; None leaves a side open."""

    cost: str
    most: float | None = None
    least: float | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        given = [b for b in (self.least, self.most) if b is not None]
        if not given or not all(isinstance(b, int | float) and math.isfinite(b) for b in given):
            raise UsageError(f"the limit on {self.cost!r} needs a finite number, as in {self.cost}<=1e6")
        if len(given) == 2 and given[0] > given[1]:
            raise UsageError(f"no {self.cost} is at least {given[0]:g} and at most {given[1]:g}")

    def __str__(self) -> str:
        ends = ((self.least, ">="), (self.most, "<="))
        return ",".join(f"{self.cost}{sign}{bound:g}" for bound, sign in ends if bound is not None)

    def feasible(self, costs: Mapping[str, float]) -> bool:
        """Tell whether the costs of an architecture keep the limit (NaN does not); raises UsageError on an unknown cost."""
        if self.cost not in costs:
            raise UsageError(nearest(self.cost, costs, kind="cost"))
        value = costs[self.cost]
        above = self.least is None or value >= self.least
        return above and (self.most is None or value <= self.most) and not math.isnan(value)


def limit(given: Limit | str) -> Limit:
    """Return a limit given as itself or in words: "params<=500000"."""
    if isinstance(given, Limit):
        return given
    found = WRITTEN.fullmatch(given) if isinstance(given, str) else None
    try:
        bound = float(found[3]) if found else math.nan
    except ValueError:
        bound = math.nan
    if found is None or math.isnan(bound):
        raise UsageError(f"a limit is written COST<=NUMBER or COST>=NUMBER, as in params<=500000; got {given!r}")
    return Limit(found[1], most=bound) if found[2] == "<=" else Limit(found[1], least=bound)
