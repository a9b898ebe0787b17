"""The values of a choice as a list of arms that is never long: outcomes, or equal parts of them or of a range."""

from __future__ import annotations

from typing import Any

from mimar.space import Choice

MOST = 64  # outcomes of a choice that are arms of their own; of more, equal parts of their list are
CELLS = 10  # arms of a continuous choice: equal parts of its range


def arms(choice: Choice) -> int:
    """Return how many arms a choice has."""
    return CELLS if choice.kind == "value" else int(min(choice.count, MOST))


def arm(choice: Choice, value: Any) -> int:
    """Return the arm that a value belongs to."""
    return min(int(choice.unit(value) * arms(choice)), arms(choice) - 1)


def pulled(choice: Choice, number: int, place: float = 0.5) -> Any:
    """Return a value that belongs to an arm: `place` ∈ [0, 1) says which, where it stands for several."""
    return choice.at((number + place) / arms(choice))
