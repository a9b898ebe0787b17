"""A benchmark table as an evaluator: every architecture of a space with its figures, looked up instead of trained.

R rows, F fidelities, S repeated trainings. Three lines make a table of one's own:

    space = Space([Choice("width", (8, 16), "size"), Choice("norm", ("batch", "layer"))])
    table = Table.from_arrays(space, {"valid_accuracy": [0.71, 0.74, 0.78, 0.77]})  # in the order of space.enumerate()
    regularized_evolution.recipe(task=table, queries=3).run()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from mimar.core.errors import DataError, UsageError, nearest
from mimar.core.streams import Draws
from mimar.evaluators.columns import Array, Column, Shape, directions
from mimar.evaluators.parts import offered
from mimar.evaluators.rows import ABSENT, Rows
from mimar.space import Architecture, Measurement, Proposal, Space, counting
from mimar.tasks.protocol import Measure

LARGEST = 1_000_000  # spaces up to this size are looked through for architectures that have no row


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A table over a space. `measured`: what a query returns; `known`: costs that are free; `final`: the verdict's.

    `seconds` (F, R): what a query costs, in `unit`; None counts queries. `single`: a query returns one of the repeated
    trainings, drawn by its stream, instead of their mean. `resumes`: a curve goes on where it was left. `default`: the
    fidelity of a query that names none, by default the last. `budget`: that of a search that names none.
    Make one by `from_arrays`, `from_csv`, `load` or `mimar.evaluators.benchmarks.named`.
    """

    name: str
    space: Space
    rows: Rows
    measured: tuple[Column, ...]
    final: tuple[Column, ...] = ()
    known: tuple[Column, ...] = ()
    seconds: Array | None = None
    fidelities: tuple[float, ...] = ()
    default: float | None = None
    single: bool = False
    resumes: bool = False
    budget: float | None = None
    unit: str = "queries"

    def __post_init__(self) -> None:
        self.level(self.default)

    def __repr__(self) -> str:
        return f"Table({self.name}: {len(self)} rows, {', '.join(m.name for m in self.measures[:6])})"

    # -- making ------------------------------------------------------------------------------------------------------

    @staticmethod
    def from_arrays(
        space: Space,
        measured: Mapping[str, Any],
        *,
        architectures: Iterable[Mapping[str, Any]] | None = None,
        codes: Array | None = None,
        final: Mapping[str, Any] | None = None,
        known: Mapping[str, Any] | None = None,
        seconds: Any = None,
        fidelities: Sequence[float] = (),
        minimise: Iterable[str] = (),
        maximise: Iterable[str] = (),
        units: Mapping[str, str] | None = None,
        name: str = "table",
        partial: bool = False,
        **more: Any,
    ) -> Table:
        """Return the table of columns given by name; rows are in the order of `architectures` or `space.enumerate()`.

        `codes` (R, C) says the same as `architectures`, at once: the place of each value among the `outcomes` of its
        choice, choices in the order of `space.ordered`. A column is (R,), with fidelities (F, R), with repeated trainings
        (S, R) or (S, F, R) where NaN means not repeated. Measured and final columns are better large unless named in
        `minimise`, known costs better small unless in `maximise`. `units`: those of columns, "fraction" for accuracies;
        `unit` is that of `seconds`. `partial`: architectures of the space may have no row, they are then infeasible.
        Raises DataError, naming row and column, where a figure is missing, not finite or of another length, and for
        architectures that are given twice, are none of the space, or have no row.
        """
        rows = Rows.of(space, architectures) if codes is None else Rows.of_codes(space, np.asarray(codes))
        if not len(rows) or not measured:
            raise DataError("a table needs a row and a measured column, such as valid_accuracy")
        if not partial:
            _complete(space, rows)
        levels = tuple(map(float, fidelities))
        if list(levels) != sorted(set(levels)) or not np.isfinite(levels).all():
            raise DataError(f"fidelities increase, without repetition; got {tuple(fidelities)!r}")
        groups = {"measured": measured, "final": final, "known": known}
        small = directions(groups, tuple(minimise), tuple(maximise))
        shape = Shape(len(rows), len(levels), small, units or {})
        more.setdefault("unit", "queries" if seconds is None else "s")
        asked, verdict, costs = (shape.columns(given, single=g != "measured") for g, given in groups.items())
        return Table(name, space, rows, asked, verdict, costs, shape.seconds(seconds), levels, **more)

    @staticmethod
    def from_csv(path: Path | str, space: Space | None = None, **more: Any) -> Table:
        """Return the table of a CSV file; `mimar.evaluators.table_csv.from_csv` says how its header is read."""
        from mimar.evaluators import table_csv

        return table_csv.from_csv(path, space, **more)

    @staticmethod
    def load(path: Path | str) -> Table:
        """Return the table that `save` wrote; raises DataError where the file is damaged or is something else."""
        from mimar.evaluators import table_file

        return table_file.load(path)

    def save(self, path: Path | str) -> None:
        """Write the table as one .npz without pickles; `mimar.evaluators.table_file` describes the format."""
        from mimar.evaluators import table_file

        table_file.save(self, path)

    # -- asking ------------------------------------------------------------------------------------------------------

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """What a query returns, the primary one first."""
        return tuple(column.measure for column in (*self.measured, *self.known))

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, architecture: Mapping[str, Any]) -> int | None:
        """Return the row of an architecture, None where the table has none."""
        return self.rows.row(architecture)

    def level(self, fidelity: float | None) -> int:
        """Return the place of a fidelity, of the default one where it is None; raises UsageError for an unknown one."""
        if fidelity is None:
            fidelity = self.default
        if fidelity is None:
            return -1
        return self.fidelities.index(offered(self.name, fidelity, self.fidelities))

    def prepare(self, seed: int) -> float:
        """A table needs no preparation."""
        return 0.0

    def costs(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the known costs of an architecture; nothing where the table does not have it."""
        row = self.rows.row(architecture)
        return {} if row is None else {name: values[row] for name, values in self._known}

    def evaluate(self, proposal: Proposal, fidelity: float | None = None, rng: Draws | None = None) -> Measurement:
        """Return a row's figures and seconds; `infeasible`, at no cost, where the table has no such row.

        With `single`, one of the repeated trainings is drawn from `rng`; without a stream it is the first. With
        `resumes`, the curve up to the fidelity is in it.
        """
        row = self.rows.row(proposal.architecture)
        if row is None:
            return Measurement({}, 0.0, "infeasible")
        if fidelity is None:
            fidelity = proposal.fidelity
        level = self._default if fidelity is None else self.level(fidelity)
        if self.single:
            metrics, curve = self._one(row, level, rng)
        else:
            metrics = {name: means[level][row] for name, means in self._measured}
            curve = self._curves[row][: level % len(self.fidelities) + 1] if self.resumes else ()
        for name, values in self._known:
            metrics[name] = values[row]
        return Measurement(metrics, 1.0 if self._seconds is None else self._seconds[level][row], "ok", curve)

    def verdict(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the final figures of an architecture; raises DataError where it has no row."""
        row = self.rows.row(architecture)
        if row is None:
            raise DataError(f"{self.name} has no row for {dict(architecture)!r}")
        return {c.measure.name: c.mean[0][row] for c in self.final}

    def lookup(self, rows: Any, metric: str, fidelity: float | None = None) -> Array:
        """Return a column's means at many rows at once: (N,) float64. Rows come from `rows.numbers`.

        Raises UsageError for an unknown column or fidelity and for a row that is not there.
        """
        held = {c.measure.name: c.means for c in (*self.measured, *self.final, *self.known)}
        if metric not in held:
            raise UsageError(nearest(metric, held, kind="column"))
        rows = np.asarray(rows)
        if rows.size and rows.min() <= ABSENT:
            raise UsageError(f"{self.name} has no row for {int((rows <= ABSENT).sum())} of these architectures")
        found: Array = held[metric][self.level(fidelity) if len(held[metric]) > 1 else 0][rows]
        return found

    def digest(self) -> str:
        """Return a digest of names, architectures and figures, and of how queries are answered."""
        plain = (self.name, self.space.to_json(), self.fidelities, self.default, self.single, self.resumes, self.unit)
        found = sha256(repr(plain).encode())
        found.update(np.ascontiguousarray(self.rows.codes).tobytes())
        for column in (*self.measured, *self.final, *self.known):
            found.update(repr(tuple(column.measure)).encode())
            found.update(np.ascontiguousarray(column.values).tobytes())
        if self.seconds is not None:
            found.update(np.ascontiguousarray(self.seconds).tobytes())
        return found.hexdigest()[:16]

    def identity(self) -> str:
        """Return what stands for the table in the description of a run."""
        return self.digest()

    def _one(self, row: int, level: int, rng: Draws | None) -> tuple[dict[str, float], Sequence[float]]:
        """Return the figures of one of the trainings of a row, and its curve where it has one."""
        primary = self.measured[0]
        training = primary.draw(level, row, rng)
        metrics = {}
        for column in self.measured:
            values = column.values[:, level, row]
            at = training if training < len(values) and np.isfinite(values[training]) else column.draw(level, row, None)
            metrics[column.measure.name] = float(values[at])
        if not self.resumes:
            return metrics, ()
        before = slice(level % len(self.fidelities) + 1)
        curve = primary.values[training, before, row]
        return metrics, np.where(np.isfinite(curve), curve, primary.means[before, row]).tolist()

    @cached_property
    def _default(self) -> int:
        return self.level(None)

    @cached_property
    def _measured(self) -> list[tuple[str, list[list[float]]]]:
        return [(c.measure.name, c.mean) for c in self.measured]

    @cached_property
    def _curves(self) -> list[list[float]]:
        found: list[list[float]] = self.measured[0].means.T.tolist()
        return found

    @cached_property
    def _known(self) -> list[tuple[str, list[float]]]:
        return [(c.measure.name, c.mean[0]) for c in self.known]

    @cached_property
    def _seconds(self) -> list[list[float]] | None:
        found: list[list[float]] | None = None if self.seconds is None else self.seconds.tolist()
        return found


def _complete(space: Space, rows: Rows) -> None:
    """Raise DataError, with an example, where an architecture of the space has no row."""
    free, advice = counting.count(space.ordered), "give all of them, or partial=True"
    if not space.constraints and free == len(rows):
        return
    if free > LARGEST:
        raise DataError(f"the table has {len(rows)} rows for a space of {free} combinations; {advice}")
    missing = next((a for a in space.enumerate() if rows.row(a) is None), None)
    if missing is not None:
        raise DataError(f"the table has no row for {dict(missing)!r}, which is of the space; {advice}")
