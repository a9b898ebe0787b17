"""Tables from CSV files, written by hand or by a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mimar.core.errors import DataError
from mimar.evaluators.columns import COUNTS
from mimar.evaluators.rows import Rows
from mimar.evaluators.table import Table
from mimar.evaluators.table_file import HasRow
from mimar.space import Architecture, Choice, Space

SPARSE = 0.01  # below this share of all combinations, sampling would hardly ever meet a listed architecture
ROLES = ("choice", "max", "min", "known", "final", "final-min")


def from_csv(path: Path | str, space: Space | None = None, **more: Any) -> Table:
    """Return the table of a CSV file: a header, then one architecture a line.

    The rule of the header: a column is a choice, unless its name says otherwise. NAME:max and NAME:min are measured, so
    are names that begin with "valid"; NAME:final and NAME:final-min are the verdict's, so are names that begin with
    "test"; NAME:known is a known cost, so are params, macs and flops; "seconds" is what a query costs. NAME@12 is a
    measured column or "seconds" at the fidelity 12. NAME:choice is a choice whatever its name.

    Without `space`, a choice of whole numbers is of the kind "size", any other of the kind "one" with its options in order
    of appearance, and the space is what the file lists. With `space`, cells are its options; a cell is empty where the
    choice is inactive, and the options of a choice of the kind "some" are joined by "+". `more` goes to
    `Table.from_arrays`. Raises DataError, naming line and column.
    """
    try:
        return _table(path, space, more)
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from None


def _table(path: Path | str, space: Space | None, more: dict[str, Any]) -> Table:
    header, lines = _lines(path)
    roles = {word: _role(word, space) for word in header}
    columns = {word: [line[i] for line in lines] for i, word in enumerate(header)}
    choices = {name: columns[word] for word, (role, name, _) in roles.items() if role == "choice"}
    if not choices:
        raise DataError(f"{path} has no column that is a choice: {', '.join(header)}")
    if space is None:
        space, architectures = _inferred(path, choices)
        more = {"partial": True, **more}  # the space is what the file lists
    else:
        architectures = _read(choices, space)
    given = _groups(path, columns, roles)
    return Table.from_arrays(space, **{"name": Path(path).stem, "architectures": architectures, **given, **more})


def _lines(path: Path | str) -> tuple[list[str], list[list[str]]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file) if any(line)]
    except FileNotFoundError:
        raise DataError(f"there is no table {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from None
    if len(lines) < 2:
        raise DataError(f"{path} needs a header and a line below it")
    header, *rest = lines
    twice = [word for word in header if header.count(word) > 1 or not word]
    if twice:
        raise DataError(f"{path} has two columns {twice[0]!r}" if twice[0] else f"{path} has a column without a name")
    ragged = next((n for n, line in enumerate(rest, start=2) if len(line) != len(header)), None)
    if ragged is not None:
        raise DataError(f"line {ragged} of {path} has {len(rest[ragged - 2])} cells and the header has {len(header)}")
    return header, rest


def _role(word: str, space: Space | None) -> tuple[str, str, float | None]:
    """Return (role, name, fidelity) of a word of the header."""
    name, colon, role = word.rpartition(":") if word.rpartition(":")[2] in ROLES else (word, "", "")
    name, at, level = name.partition("@") if role != "choice" else (name, "", "")
    try:
        fidelity = float(level) if at else None
    except ValueError:
        raise DataError(f"the column {word!r} has the fidelity {level!r}, which is no number") from None
    if not colon:
        begun = {"valid": "max", "test": "final", "seconds": "seconds"}
        role = next((r for w, r in begun.items() if name.startswith(w)), "known" if name in COUNTS else "choice")
        role = "choice" if space is not None and name in space else role
    if at and role not in ("max", "min", "seconds"):
        raise DataError(f"the column {word!r} cannot have a fidelity: only measured columns and seconds have one")
    return role, name, fidelity


def _groups(path: Path | str, columns: Mapping[str, list[str]], roles: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments that a file's columns of figures give."""
    levels = sorted({level for _, _, level in roles.values() if level is not None})
    found: dict[str, Any] = {"measured": {}, "final": {}, "known": {}, "fidelities": levels, "minimise": []}
    for role, name in dict.fromkeys((role, name) for role, name, _ in roles.values() if role != "choice"):
        words = {level: word for word, (r, n, level) in roles.items() if (r, n) == (role, name)}
        many = levels if role in ("max", "min", "seconds") else []
        missing = [level for level in many or [None] if level not in words]
        if missing or len(words) != len(many or [None]):
            at = "" if not missing or missing[0] is None else f" at the fidelity {missing[0]:g}"
            raise DataError(
                f"{path} has no column {name!r}{at}, and other columns have {', '.join(f'{v:g}' for v in levels)}"
            )
        stack = [_figures(path, words[level], columns[words[level]]) for level in many or [None]]
        values = np.array(stack) if many else np.array(stack[0])
        if role == "seconds":
            found["seconds"] = values
            continue
        found[{"max": "measured", "min": "measured", "known": "known"}.get(role, "final")][name] = values
        if role in ("min", "final-min"):
            found["minimise"].append(name)
    return found


def _figures(path: Path | str, word: str, cells: Iterable[str]) -> list[float]:
    found = []
    for line, cell in enumerate(cells, start=2):
        try:
            found.append(float(cell))
        except ValueError:
            raise DataError(f"line {line} of {path} has {cell!r} in the column {word!r}, which is no number") from None
    return found


def _inferred(path: Path | str, choices: Mapping[str, list[str]]) -> tuple[Space, list[Architecture]]:
    made = []
    for name, cells in choices.items():
        if "" in cells:
            line = cells.index("") + 2
            raise DataError(
                f"line {line} of {path} is empty in the column {name!r}; give the space if it is conditional"
            )
        options: list[Any] = list(dict.fromkeys(cells))
        whole = all(cell.removeprefix("-").isdigit() for cell in options)
        made.append(Choice(name, tuple(sorted(map(int, options))), "size") if whole else Choice(name, tuple(options)))
    plain = Space(made)
    listed = _read(choices, plain)
    size = plain.size()
    if len(listed) < SPARSE * size:
        raise DataError(
            f"{path} lists {len(listed)} of {size} combinations, too few to be searched by its choices; join them into "
            "one column that names the architecture"
        )
    return (plain if len(listed) == size else Space(made, (HasRow(Rows.of(plain, listed)),))), listed


def _read(choices: Mapping[str, list[str]], space: Space) -> list[Architecture]:
    """Return the architectures of cells, line by line."""
    found: list[dict[str, Any]] = [{} for _ in next(iter(choices.values()))]
    for name, cells in choices.items():
        choice = space[name]
        known = {"+".join(map(str, v)) if choice.kind == "some" else str(v): v for v in choice.outcomes}
        for made, cell in zip(found, cells, strict=True):
            if cell:
                made[name] = known.get(cell, cell)
    return [Architecture(made) for made in found]
