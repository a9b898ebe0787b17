"""Which kernel serves where, torch's or ours, by measurements: a table that is shipped, or one that `mimar tune` wrote.

    {"format": 1, "measured": {instructions: conditions}, "rows": {"avx512 float32 forward": [[k, s, d, C, side, torch, ours], …]}}

torch and ours in microseconds. The row nearest in Σ|log ratio| of its first five numbers decides; of equal ones the first.
So the choice depends on the shapes, the instruction set and the table, whose digest is part of a run's plan.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from mimar.core import describe
from mimar.core.errors import DataError, UsageError

Direction = Literal["forward", "input", "weight"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
SHIPPED = Path(__file__).with_suffix(".json")
VARIABLE = "MIMAR_TABLE"
FORMAT = 1
Rows = Mapping[str, Sequence[Sequence[float]]]


def key(instructions: str, dtype: torch.dtype, direction: Direction) -> str:
    """Return the name of the rows that are compared with each other."""
    return f"{instructions} {str(dtype).removeprefix('torch.')} {direction}"


@dataclass(frozen=True)
class Table:
    """Measurements, the conditions they were made under, and where they came from."""

    rows: Rows
    measured: Mapping[str, Any]
    path: Path
    _known: dict[Any, bool] = field(default_factory=dict, repr=False, compare=False)

    def ours(self, instructions: str, dtype: torch.dtype, direction: Direction, place: Sequence[float]) -> bool:
        """Tell whether our kernel is the faster one for `place` = (kernel, stride, dilation, channels, side)."""
        asked = (instructions, dtype, direction, place)
        if asked not in self._known:
            rows = self.rows.get(key(instructions, dtype, direction))
            if rows is None and instructions != "triton":
                raise DataError(
                    f"{self.path} has no measurements for {key(instructions, dtype, direction)}: it was made on another "
                    f"machine; write one here with `mimar tune`, or unset {VARIABLE}"
                )
            nearest = min(rows or [(*place, 1, 0)], key=lambda row: _distance(row, place))
            self._known[asked] = nearest[6] < nearest[5]
        return self._known[asked]

    @property
    def digest(self) -> str:
        """A digest of all measurements."""
        return describe.digest(self.rows, 12)


def _distance(row: Sequence[float], place: Sequence[float]) -> float:
    return sum(abs(math.log(a / b)) for a, b in zip(row, place, strict=False))


def text(rows: Rows, measured: Mapping[str, Any]) -> str:
    """Return a table as the text of its file, one measurement a line."""
    lines = {name: ",\n".join(map(json.dumps, rows[name])) for name in sorted(rows)}
    whole = ",\n".join(f"{json.dumps(name)}: [\n{held}\n]" for name, held in lines.items())
    return f'{{"format": {FORMAT},\n"measured": {json.dumps(measured, sort_keys=True)},\n"rows": {{\n{whole}\n}}}}\n'


def read(path: Path) -> Table:
    """Return the table of a file.

    Raises UsageError when it cannot be read, DataError when it is not a table of this version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the table of kernels {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a table of kernels: it is not JSON ({error})") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{path} is not a table of kernels of format {FORMAT}; write one with `mimar tune`")
    rows, measured = found.get("rows"), found.get("measured")
    if not (isinstance(rows, dict) and isinstance(measured, dict) and rows and all(map(_whole, rows.values()))):
        raise DataError(f"{path} is a damaged table of kernels; write one with `mimar tune`")
    return Table(rows, measured, path)


def _whole(rows: Any) -> bool:
    """Tell whether these are rows of seven positive numbers, at least one."""
    return (
        isinstance(rows, list)
        and bool(rows)
        and all(
            isinstance(row, list)
            and len(row) == 7
            and all(isinstance(n, int | float) and not isinstance(n, bool) and 0 < n < math.inf for n in row)
            for row in rows
        )
    )


@cache
def current() -> Table:
    """Return the table of this process: the file $MIMAR_TABLE if that is set, otherwise the shipped one."""
    named = os.environ.get(VARIABLE)
    return read(Path(named) if named else SHIPPED)


def digest() -> str:
    """Return the digest of the table in use: part of a run's plan."""
    return current().digest
