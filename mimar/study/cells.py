"""One cell of a study: a recipe on a task under a seed, run once and kept; many cells, several at a time.

A cell is a run folder, so that an interrupted study goes on where it was killed. Every cell computes on one thread:
its figures repeat bit for bit however many run beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mimar import recipes
from mimar.core.describe import describe, digest
from mimar.core.errors import RunError


@dataclass(frozen=True)
class Cell:
    """A recipe's name, its keyword arguments, and where its run is kept."""

    recipe: str
    options: Mapping[str, Any] = field(hash=False)

    @property
    def folder(self) -> str:
        """The name of the cell's run folder, its options included as a digest."""
        task = str(self.options.get("task", "digits")).split(":")[0]
        return f"{self.recipe}-{task}-s{self.options.get('seed', 0)}-{digest(describe(dict(self.options)), 8)}"


def search(cell: Cell) -> Any:
    """Return the search of a cell."""
    return recipes.load(cell.recipe)[1](**cell.options)


def lasting(recipe: str) -> bool:
    """Whether a recipe's finished networks are of another kind than plain ones, so that plain random ones are no match."""
    built = recipes.load(recipe)[1]()
    return bool(getattr(getattr(built, "remodel", None), "lasting", False))


def own_random(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the random networks that a search trained itself."""
    return [t for t in result["trained"] if str(t["network"]).startswith("random")]


def seconds(result: Mapping[str, Any]) -> float:
    """Return the wall time of search and final training, in proportion, without random networks trained beside them."""
    budget = result["budget"]
    whole = sum(budget.values())
    return float(result["seconds"]) * ((budget["search"] + budget["retrain"]) / whole if whole else 1.0)


def run(cell: Cell, root: str) -> dict[str, Any]:
    """Run a cell to its end, or take what is there, and return its finished result with all trained networks."""
    import torch

    from mimar import runs

    torch.set_num_threads(1)
    folder = Path(root) / cell.folder
    if not (folder / "result.json").exists():
        search(cell).run(folder, resume=runs.is_run(folder))
    return read(folder)


def read(folder: Path) -> dict[str, Any]:
    """Return the finished result of a cell from its files, with all trained networks."""
    from mimar import runs

    with runs.open_run(folder) as store:
        trained = [e for e in store.events() if e.get("event") == "trained"]
        result = json.loads(store.read("result.json"))
        return {**result, "trained": trained, "versions": store.header["versions"]}


def run_all(
    cells: Iterable[Cell], root: str, *, workers: int = 1, tell: Callable[[str], None] = print
) -> dict[Cell, dict[str, Any]]:
    """Return the result of every cell; `workers` processes at a time. Raises RunError naming a cell that failed."""
    cells = list(cells)
    found: dict[Cell, dict[str, Any]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(run, cell, root): cell for cell in cells}
        for done in as_completed(waiting):
            cell = waiting[done]
            try:
                found[cell] = done.result()
            except Exception as error:
                raise RunError(f"the study's cell {cell.folder} failed: {error}") from error
            tell(f"{len(found)} of {len(cells)}: {cell.folder} ({found[cell]['seconds']:.0f} s)")
    return {cell: found[cell] for cell in cells}
