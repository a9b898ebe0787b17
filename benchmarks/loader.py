"""The share of a search that its data take: shuffling, sampling, normalising and augmenting batches.

    python benchmarks/loader.py [--quick]

The search is iDARTS with its default net and batch, its weight and alpha steps and its evaluations; retraining is not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from conditions import show, write
from steps import Bound, row

from mimar import tasks
from mimar.core.errors import DataAbsentError
from mimar.core.events import Step
from mimar.recipes import idarts
from mimar.tasks.labelled import Bound as Data

TASKS = ("digits", "fashion-mnist")


class Clock:
    """Seconds spent inside `with` blocks."""

    def __init__(self) -> None:
        self.total = self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.total += time.perf_counter() - self._since


def clocked(clock: Clock) -> Callable[[], None]:
    """Let the clock run whenever a batch is made; return what undoes it."""
    batches, sample = Data.batches, Data.sample

    def next_ones(*args: Any, **options: Any) -> Iterator[Any]:
        with clock:
            made = batches(*args, **options)

        def each() -> Iterator[Any]:
            while True:
                with clock:
                    batch = next(made, None)
                if batch is None:
                    return
                yield batch

        return each()

    def one(*args: Any, **options: Any) -> Any:
        with clock:
            return sample(*args, **options)

    def undo() -> None:
        Data.batches, Data.sample = batches, sample  # type: ignore[method-assign]

    Data.batches, Data.sample = next_ones, one  # type: ignore[method-assign]
    return undo


def shares(task: str, steps: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return, for each of `rounds` runs of `steps` search steps, the seconds of the loader and of everything."""
    search = idarts.recipe(task=task, epochs=1000)
    state, clock = search.start(), Clock()
    events = (event for event in search.events(state) if isinstance(event, Step) and not event.boundary)
    undo, loader, whole = clocked(clock), [], []
    try:
        next(events)  # what is done once: reading, plans, the forecast of memory
        for _ in range(rounds):
            clock.total, start = 0.0, time.perf_counter()
            for _ in range(steps):
                next(events)
            loader.append(clock.total)
            whole.append(time.perf_counter() - start)
    finally:
        events.close()
        undo()
    return loader, whole


def main() -> None:
    """Measure, print, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps; nothing is written")
    quick = parser.parse_args().quick
    rows = []
    for task in TASKS:
        try:
            tasks.named(task).split(0)
        except DataAbsentError as absent:
            print(f"{task} was not measured: {absent}")
            continue
        loader, whole = shares(task, *((8, 2) if quick else (50, 6)))
        rows.append(row("loader's share of a search", f"{task}, idarts", loader, whole, Bound("<=", 0.03)))
    show(rows) if quick else write("loader", rows)


if __name__ == "__main__":
    main()
