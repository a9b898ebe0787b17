"""What every benchmark writes beside its figures: a CSV named by its conditions."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimar import runs

RESULTS = Path(__file__).parent / "results"


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
            print("  ".join(f"{k} {v}" for k, v in row.items()))
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return path
