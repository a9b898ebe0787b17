"""One column of a table: checked figures of all rows, with their direction and unit.

R rows, F fidelities, S repeated trainings; figures are (S, F, R) float64, NaN where a training was not repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mimar.core.errors import DataError, UsageError, nearest
from mimar.core.streams import Draws
from mimar.tasks.protocol import Measure

Array = np.ndarray[Any, Any]
SHOWN = 3  # rows named in an error
COUNTS = ("params", "macs", "flops")


@dataclass(frozen=True, eq=False)
class Column:
    """Figures of all rows: `values` (S, F, R) float64."""

    measure: Measure
    values: Array

    @cached_property
    def mean(self) -> list[list[float]]:
        """The means over repeated trainings, F lists of R numbers."""
        found: list[list[float]] = self.means.tolist()
        return found

    @cached_property
    def means(self) -> Array:
        """The same as an array (F, R)."""
        found: Array = np.nanmean(self.values, axis=0) if len(self.values) > 1 else self.values[0]
        return found

    def draw(self, level: int, row: int, rng: Draws | None) -> int:
        """Return which of the trainings of a row a query sees: one of those that were done, the first without a stream."""
        done = np.flatnonzero(np.isfinite(self.values[:, level, row]))
        return int(done[rng.below(len(done)) if rng is not None else 0])


@dataclass(frozen=True)
class Shape:
    """What the columns of a table have in common: R rows, F fidelities, and what was said of names."""

    rows: int
    fidelities: int
    small: Collection[str]
    units: Mapping[str, str]

    def columns(self, given: Mapping[str, Any] | None, *, single: bool) -> tuple[Column, ...]:
        """Return checked columns; `single` ones have one figure a row."""
        return tuple(self.column(name, values, single=single) for name, values in (given or {}).items())

    def column(self, name: str, given: Any, *, single: bool = False) -> Column:
        """Return the column of what was given as (R,), (S, R), (F, R) or (S, F, R).

        Two axes are fidelities and rows where the table has fidelities, else repetitions and rows. Raises DataError,
        naming the column and the row, for another shape, what is no number, and figures that are missing or infinite.
        Figures of float32 are read as decimals of seven digits.
        """
        values = _numbers(name, given)
        fidelities = 1 if single else max(self.fidelities, 1)
        if values.ndim == 1:
            values = np.broadcast_to(values, (1, fidelities, len(values))) if fidelities == 1 else values[None, None]
        elif values.ndim == 2:
            values = values[None] if self.fidelities and not single else values[:, None]
        if values.ndim != 3 or values.shape[2] != self.rows or not len(values):
            raise DataError(
                f"the column {name!r} of the table must have {self.rows} rows; its shape is {np.shape(given)}"
            )
        if values.shape[1] != fidelities:
            raise DataError(f"the column {name!r} has {values.shape[1]} fidelities, and the table has {fidelities}")
        bad = ~np.isfinite(values).any(0) | np.isinf(values).any(0)  # (F, R)
        if bad.any():
            rows = np.flatnonzero(bad.any(0))
            listed = ", ".join(map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")
            raise DataError(f"the column {name!r} of the table is missing or not finite in row {listed}")
        return Column(Measure(name, "min" if name in self.small else "max", self.unit(name)), values)

    def seconds(self, given: Any) -> Array | None:
        """Return what queries cost (F, R); raises DataError where a cost is negative."""
        if given is None:
            return None
        values = self.column("seconds", given).values[0]
        if (values < 0).any():
            row = int(np.flatnonzero((values < 0).any(0))[0])
            raise DataError(f"the column 'seconds' of the table is negative in row {row}")
        return values

    def unit(self, name: str) -> str:
        """Return the unit of a column: what was said, else that of accuracies (fractions) and counts."""
        if name in self.units:
            return self.units[name]
        return "fraction" if name.endswith("accuracy") else "1" if name in COUNTS else ""


def directions(
    groups: Mapping[str, Mapping[str, Any] | None], minimise: Collection[str], maximise: Collection[str]
) -> set[str]:
    """Return the names of columns that are better small: those in `minimise`, and known costs but those in `maximise`.

    Raises UsageError for a name that is no column, DataError for one that is two.
    """
    names = [name for columns in groups.values() for name in columns or {}]
    for name in (*minimise, *maximise):
        if name not in names:
            raise UsageError(nearest(name, names, kind="column"))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"the column {twice!r} is given twice: what a query returns is no verdict and no known cost")
    return (set(minimise) | set(groups["known"] or ())) - set(maximise)


def _numbers(name: str, given: Any) -> Array:
    try:
        values = np.asarray(given)
        if values.dtype.kind not in "fiub":
            values = np.array([[float(v) for v in values.ravel()]]).reshape(values.shape)
    except (TypeError, ValueError):
        raise DataError(f"the column {name!r} of the table is not made of numbers") from None
    return significant(values) if values.dtype == np.float32 else values.astype(np.float64)


def significant(values: Array) -> Array:
    """Return float32 figures as the decimal numbers of seven digits that they stand for: 91.607, not 91.60700225830078."""
    exact = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        power = 6 - np.floor(np.log10(np.abs(exact)))
    small, large = 10.0 ** np.clip(power, 0, 22), 10.0 ** np.clip(-power, 0, 22)  # whole powers of ten are exact
    return np.where(np.isfinite(power), np.round(exact * small / large) * large / small, exact)
