"""Architectures as rows of numbers whose columns are decisions: the one-hot code of the space, made fast.

N architectures, D columns: one an option (k-hot for `some`), one a choice of kind `value`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mimar.predictors.parts import Array
from mimar.space import Architecture, Space


class Column(NamedTuple):
    """A decision: an option of a choice, or where `option` is None the place of a choice's value in its range."""

    choice: str
    option: Any = None

    @property
    def name(self) -> str:
        """The decision in words."""
        return self.choice if self.option is None else f"{self.choice} = {self.option}"


class Columns:
    """The one-hot code of a space, equal to `space.encode(…, "onehot")` in float64; nothing is checked.

    `only`: of the choices so named. `sizes`: as "options" or, like values, as one "number", their place in the range.
    """

    def __init__(
        self, space: Space, only: Collection[str] | None = None, sizes: Literal["options", "number"] = "options"
    ) -> None:
        chosen = [c for c in space.ordered if only is None or c.name in only]
        numbers = ("value",) if sizes == "options" else ("value", "size")
        self.names: list[Column] = []
        self._place: dict[str, dict[Any, int]] = {}
        self._ranges: dict[str, tuple[int, Any]] = {}
        for choice in chosen:
            if choice.kind in numbers:
                self._ranges[choice.name] = len(self.names), choice
                self.names.append(Column(choice.name))
                continue
            self._place[choice.name] = {option: len(self.names) + i for i, option in enumerate(choice.options)}
            self.names += [Column(choice.name, option) for option in choice.options]

    def __len__(self) -> int:
        return len(self.names)

    def __call__(self, architectures: Sequence[Architecture]) -> Array:
        """Return the codes, (N, D) float64."""
        rows: list[int] = []
        columns: list[int] = []
        codes = np.zeros((len(architectures), len(self.names)))
        for i, arch in enumerate(architectures):
            for name, places in self._place.items():
                if name in arch:
                    value = arch[name]
                    found = [places[o] for o in value] if isinstance(value, tuple) else (places[value],)
                    columns += found
                    rows += [i] * len(found)
            for name, (place, choice) in self._ranges.items():
                if name in arch:
                    codes[i, place] = choice.unit(arch[name])
        codes[rows, columns] = 1.0
        return codes
