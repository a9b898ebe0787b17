"""What every benchmark writes beside its figures: a CSV named by its conditions."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimar import runs

RESULTS = Path(__file__).parent / "results"


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table."""
    table = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write(name: str, rows: Sequence[Mapping[str, Any]], **conditions: Any) -> Path:
    """Write rows to results/NAME-CONDITIONS.csv, print them, and return the path."""
    versions = runs.versions(conditions.pop("device", "cpu"))
    stated = {"threads": versions["threads"], "torch": versions["torch"], **conditions}
    path = RESULTS / ("-".join([name, *(f"{k}{v}" for k, v in stated.items())]).replace("+", "_") + ".csv")
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [*rows[0], "machine", "instructions"])
        table.writeheader()
        for row in rows:
            table.writerow({**row, "machine": versions["device"], "instructions": versions["instructions"]})
    show(rows)
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return path
