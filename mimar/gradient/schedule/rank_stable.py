"""Stop once the options keep their ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mimar.core.ranges import Count, validate
from mimar.gradient.schedule.parts import History, Stop


@dataclass(frozen=True)
class RankStable:
    """Stop at the first epoch that ranks the options of every choice as each of the `epochs` epochs before it did.

    Only the order of the gates counts: no strictly increasing transform of the alphas moves the stop. `ignore`: options
    left out of the rankings. Source: DARTS+ (Liang et al., 2019), criterion 1*, which ranks operations with weights
    only: ignore=("none", "skip_connect", "max_pool_3x3", "avg_pool_3x3") in its space.
    """

    epochs: Count = 10
    ignore: tuple[str, ...] = ()
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, history: History) -> Stop | None:
        """Return the stop, at the epoch that completed the run of equal rankings."""
        equal, before = 0, None
        for entry in history:
            now = self._kept(entry["ranks"])
            equal, before = (equal + 1 if now == before else 0), now
            if equal >= self.epochs:
                return Stop(entry["epoch"])
        return None

    def _kept(self, ranks: dict[str, Any]) -> dict[str, list[Any]]:
        return {name: [option for option in order if option not in self.ignore] for name, order in ranks.items()}
