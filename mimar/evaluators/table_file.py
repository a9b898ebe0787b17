"""Tables as files, the format of `Table.save`.

One .npz (a zip of arrays) without pickles, so that opening it can execute nothing. R rows, C choices, F
fidelities, S repeated trainings. Its entries:

    meta              a text, JSON: "format": "mimar-table-1"; "choices", the list of Choice.to_json; "layout", the
                      published layout of the space or null; "constrained", whether architectures without a row are none
                      of the space; "name", "fidelities", "default", "single", "resumes", "budget", "unit"; "columns":
                      {"GROUP/NAME": [NAME, "max" or "min", unit]}, the primary measure first
    codes             int32 (R, C): the place of each value among the outcomes of its choice (the options that it may
                      take; for kind "some" their combinations), −1 where the choice is inactive; choices parents first
    measured/NAME     float64 (S, F, R), NaN where a training was not repeated; F = 1 without fidelities
    final/NAME, known/NAME   float64 (1, 1, R)
    seconds           float64 (F, R), where queries have a cost, in "unit"

Constraints are code and are not in it: a loaded space is constrained to architectures with a row. Of structures only the
layout is in it: without one, the other forms of a network that has a row are no part of the loaded space.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimar.core.errors import DataError, MimarError
from mimar.evaluators.columns import Array
from mimar.evaluators.rows import Rows
from mimar.evaluators.table import Table
from mimar.runs.files import write_atomic
from mimar.space import Space

FORMAT = "mimar-table-1"
PLAIN = ("name", "fidelities", "default", "single", "resumes", "budget", "unit")
GROUPS = ("measured", "final", "known")


@dataclass(frozen=True, eq=False)
class HasRow:
    """The constraint of a space that is what its table lists."""

    rows: Rows

    def __call__(self, arch: Mapping[str, Any]) -> bool:
        return self.rows.row(arch) is not None

    def __repr__(self) -> str:
        return "the table has a row for it"


def save(table: Table, path: Path | str) -> None:
    """Write a table in the format above, beside and renamed into place."""
    columns = {f"{g}/{c.measure.name}": c for g in GROUPS for c in getattr(table, g)}
    arrays: dict[str, Any] = {key: column.values for key, column in columns.items()}
    arrays["codes"] = table.rows.codes.astype(np.int32)
    if table.seconds is not None:
        arrays["seconds"] = table.seconds
    meta = {"format": FORMAT, **{key: getattr(table, key) for key in PLAIN}}
    meta |= {"columns": {key: list(column.measure) for key, column in columns.items()}}
    meta |= {"choices": table.space.to_json(), "layout": table.space.layout}
    meta |= {"constrained": bool(table.space.constraints) or len(table) < table.space.size()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays)
    write_atomic(Path(path), buffer.getvalue())


def load(path: Path | str) -> Table:
    """Return the table of a file in the format above, or of a CSV file; raises DataError, saying what is wrong with it."""
    if Path(path).suffix.lower() == ".csv":
        return Table.from_csv(path)
    held = arrays(path)
    try:
        meta = json.loads(str(held["meta"]))
        found = meta["format"]
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{path} is not a table written by Table.save: it has no description in the entry meta"
        ) from None
    if found != FORMAT:
        raise DataError(f"{path} has the format {found!r}; this version reads {FORMAT}")
    try:
        return _table(meta, held)
    except KeyError as error:
        raise DataError(f"the table {path} has no {error.args[0]!r}") from None
    except (MimarError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the table {path} is damaged: {' '.join(str(error).split())[:200]}") from None


def _table(meta: dict[str, Any], held: Mapping[str, Array]) -> Table:
    groups: dict[str, Any] = {group: {} for group in GROUPS}
    for key in meta["columns"]:
        group, _, name = key.partition("/")
        groups[group][name] = held[key]
    measures = list(meta["columns"].values())
    more: dict[str, Any] = {key: meta[key] for key in PLAIN}
    more |= {"minimise": [name for name, direction, _ in measures if direction == "min"]}
    more |= {"maximise": [name for name, direction, _ in measures if direction == "max"]}
    more |= {"units": {name: unit for name, _, unit in measures}, "seconds": held.get("seconds")}
    space = Space.from_json(meta["choices"], layout=meta["layout"])
    if meta["constrained"]:
        listing = Rows.of_codes(Space(space.choices, structure=space.structure), held["codes"])
        space = Space(space.choices, (HasRow(listing),), structure=space.structure)
        more["partial"] = True
    return Table.from_arrays(space, **groups, codes=held["codes"], **more)


def arrays(path: Path | str, *needed: str) -> dict[str, Array]:
    """Return the arrays of an .npz without pickles, all or those needed; raises DataError for what is missing or damaged."""
    try:
        with open(path, "rb") as file:
            held = np.load(file, allow_pickle=False)
            if not isinstance(held, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is one array; a table is an .npz of several")
            absent = [name for name in needed if name not in held.files]
            if absent:
                raise DataError(f"{path} has no entry {absent[0]!r}")
            return {name: held[name] for name in needed or held.files}
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"there is no table {path}") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        text = " ".join(str(error).split())[:160]
        said = "it holds pickles, which are never opened" if "allow_pickle" in text or "pickle" in text else text
        raise DataError(f"{path} cannot be read as a table: {said}") from None
