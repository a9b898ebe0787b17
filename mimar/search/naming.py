"""Who measures the architectures of a black-box search, by name: "proxy:synflow"; without a name, training or the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mimar.core.errors import UsageError, nearest
from mimar.evaluators.parts import Evaluator
from mimar.search.ground import TableLab
from mimar.search.lab import Lab
from mimar.search.shared import Sharing
from mimar.search.untrained import Untrained


class Estimate(Protocol):
    """A frozen description of an evaluator that needs no training of its own for each architecture."""

    def on(self, lab: Lab | TableLab, seed: int, device: str) -> Evaluator:
        """Return the evaluator of a search."""
        ...


ESTIMATES: dict[str, Callable[[str], Estimate]] = {
    "proxy": Untrained.named,
    "shared": Sharing.named,
}  # by what follows the first colon


def estimate(given: Any) -> Estimate | None:
    """Return who measures instead of training or the table, given as itself or by name; None where nobody does.

    Raises UsageError for an unknown name, naming the nearest.
    """
    if not isinstance(given, str):
        if not hasattr(given, "on"):
            raise UsageError(f"an evaluator is a part such as mimar.search.Untrained or a name, not {given!r}")
        found: Estimate = given
        return found
    name, _, rest = given.strip().partition(":")
    if not name:
        return None
    if name not in ESTIMATES:
        raise UsageError(nearest(name, ESTIMATES, kind="evaluator"))
    return ESTIMATES[name](rest)
