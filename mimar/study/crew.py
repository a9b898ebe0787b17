"""Cells in processes of their own, some at a time: one that fails or is killed costs itself alone.

What is finished is taken from its run folder; what was begun goes on from its last snapshot. Ctrl-C reaches the parent,
which passes it on once, so that every cell saves; a killed parent takes its cells with it, which lose no snapshot.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, Self

from mimar.core.errors import MimarError
from mimar.search.pool import Worker, alone, spawned
from mimar.study import cells
from mimar.study.cells import Cell

LOG = "log.txt"  # of all processes, beside the cells: their warnings


class Outcome(NamedTuple):
    """What came of a cell: its result, or the sentence of its failure; `ran` unless it was finished already."""

    result: dict[str, Any] | None
    failure: str = ""
    ran: bool = True


Note = Callable[[Cell, Outcome], None]


class Crew:
    """Up to `workers` processes that run cells into their folders below `root`; used in a `with`."""

    def __init__(self, root: Path, workers: int) -> None:
        self.root, self.workers = root, workers
        self.idle: list[Worker] = []
        self.running: dict[Connection, tuple[Cell, Worker]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Let the cells that run save, and wait for all processes."""
        for _, worker in self.running.values():
            if worker.process.is_alive():
                os.kill(worker.process.pid, signal.SIGINT)
        for worker in (*self.idle, *(worker for _, worker in self.running.values())):
            worker.pipe.close()
            worker.process.join()

    def work(self, todo: Iterable[Cell], note: Note) -> None:
        """Run the cells and `note` what came of each, in the order in which they end; finished ones at once."""
        waiting = []
        for cell in todo:
            if (self.root / cell.folder / "result.json").exists():
                note(cell, _taken(cell, self.root)._replace(ran=False))
            else:
                waiting.append(cell)
        while waiting or self.running:
            while waiting and len(self.running) < self.workers:
                worker = self._free()
                self.running[worker.pipe] = (waiting[0], worker)
                worker.pipe.send(waiting.pop(0))
            ready = wait(list(self.running))
            for pipe in [p for p in self.running if p in ready]:
                cell, worker = self.running[pipe]
                outcome = self._ended(cell, worker)
                del self.running[pipe]
                note(cell, outcome)

    def _free(self) -> Worker:
        """Return a worker that waits, else a new one."""
        while self.idle:
            worker = self.idle.pop()
            if worker.process.is_alive():
                return worker
            worker.pipe.close()
        return spawned(serve, str(self.root))

    def _ended(self, cell: Cell, worker: Worker) -> Outcome:
        try:
            failure = worker.pipe.recv()
        except (EOFError, OSError):
            return Outcome(None, worker.ended())
        self.idle.append(worker)
        return Outcome(None, failure) if failure else _taken(cell, self.root)


def _taken(cell: Cell, root: Path) -> Outcome:
    """Return the outcome of a finished cell, from its files."""
    try:
        return Outcome(cells.read(root / cell.folder))
    except (MimarError, ValueError) as error:
        return Outcome(None, sentence(error, root))


def serve(root: str, pipe: Connection) -> None:
    """Run the cells that come through `pipe`; answer with the sentence of a failure, "" for success, until it closes."""
    alone()
    with (Path(root) / LOG).open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 2)  # several processes would write over each other, and over the parent's lines
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while True:
            pipe.send(_attempted(pipe.recv(), root))
    except (KeyboardInterrupt, EOFError, OSError):  # Ctrl-C once the cell has saved; no more cells; no parent
        return


def _attempted(cell: Cell, root: str) -> str:
    try:
        cells.run(cell, root)
    except Exception as error:  # noqa: BLE001 - whatever it is, it costs this cell alone and is written down
        return sentence(error, Path(root))
    return ""


def sentence(error: BaseException, root: Path) -> str:
    """Return an error as one line without the place of the study on this machine."""
    text = " ".join(str(error).split())
    for place in (root.resolve(), root):
        text = text.replace(f"{place}{os.sep}", "")
    return text if isinstance(error, MimarError) else f"unexpected {type(error).__name__}: {text[:300]}"
