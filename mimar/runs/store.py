"""The store of a run: created or opened, appended to, snapshotted, continued.

The newest snapshot that verifies decides where a run continues: the log is brought to the byte that it remembers, so
that a run killed at any moment writes on as if nothing had happened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from mimar.core.errors import RunError, UsageError
from mimar.runs import files, journal, lock
from mimar.runs import header as headers
from mimar.runs import snapshot as snapshots
from mimar.runs.snapshot import Snapshot

OWN = (headers.NAME, journal.NAME, snapshots.FOLDER)

State = tuple[dict[str, Any], dict[str, Tensor]]


def create(folder: str | os.PathLike[str], header: dict[str, Any]) -> Store:
    """Begin a run in a new or empty folder and open it for writing; when that fails, nothing of it stays.

    Raises RunError when the folder is a run or holds anything else (nothing is touched), or cannot be written.
    """
    path = Path(folder)
    text = headers.dumps(header)
    _refuse_used(path)
    made = _make(path)
    try:
        held = lock.Lock(path)
        try:
            _refuse_used(path)  # again: another process may have been quicker
            return _begin(path, text, held)
        except BaseException:
            held.release()
            raise
    except BaseException:
        _unmake(made)
        raise


def open_run(folder: str | os.PathLike[str], write: bool = False) -> Store:
    """Open a run: to read (needs no lock, changes nothing) or to write (locks, mends the end of the log).

    Raises RunError for a folder that is no run, a damaged or newer run.json, or a run that another process writes.
    """
    path = Path(folder)
    header = headers.load(path)
    return Store(path, header, lock.Lock(path) if write else None)


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Tell whether `folder` holds a run."""
    return headers.present(Path(folder))


class Store:
    """One run folder, open; a context manager. Made by `create` and `open_run`. For one thread.

    `header`: run.json as a dict. `folder`: its path. `writable`: whether it was opened for writing.
    """

    def __init__(self, folder: Path, header: dict[str, Any], held: lock.Lock | None) -> None:
        self.folder = folder
        self.header = header
        self._lock = held
        self._journal: journal.Journal | None = None
        self._damage: dict[str, None] = {}  # an ordered set of sentences
        self._good: Path | None = None  # the newest snapshot known to be whole
        self._index = 0  # of the newest snapshot
        self._snapshots = folder / snapshots.FOLDER
        try:
            if held is not None:
                self._clean()
                self._journal = journal.Journal(folder / journal.NAME)
                self._note(*self._journal.damage)
                self._good = next(iter(snapshots.listed(self._snapshots)), None)
                self._index = snapshots.index_of(self._good) if self._good else 0
            else:
                self._scan()
        except BaseException:
            self._shut()
            raise

    @property
    def writable(self) -> bool:
        """Whether this store may write."""
        return self._lock is not None and self._lock.held and self._journal is not None

    @property
    def damage(self) -> list[str]:
        """What was found damaged so far, a sentence each: the log on opening, snapshots by `latest`."""
        return list(self._damage)

    def append(self, event: dict[str, Any]) -> None:
        """Write one event (a JSON dict without times) at the end of the log; it survives a kill at once."""
        self._writer().append(event)

    def events(self) -> list[dict[str, Any]]:
        """Return all whole events in order; what is damaged is left out and stands in `damage`."""
        return [event for event in map(journal.parse, self._scan().bodies) if event is not None]

    def snapshot(self, json: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Store the state and the place in the log that it belongs to; the last two snapshots are kept.

        Tensors come back bitwise with type, shape and memory order, on the CPU; lists come back for tuples.
        """
        log = self._writer()
        log.sync()
        start, offset = log.mark, log.offset
        found = Snapshot(self._index + 1, json, tensors, start, offset, log.between(start, offset))
        path = snapshots.save(self._snapshots, found)
        snapshots.prune(self._snapshots, {p for p in (path, self._good) if p})
        self._good, self._index, log.mark = path, found.index, offset

    def latest(self) -> State | None:
        """Return the newest state that verifies, or None.

        Open for writing, this is also where the run continues: the log is mended from the snapshot where it is damaged
        and cut back to it (to nothing without one).
        """
        whole = self._whole()
        path, found = next(whole, (None, None))
        if self.writable:
            self._rewind(found, whole)
            self._good, self._index = path, found.index if found else 0
            if len(snapshots.listed(self._snapshots)) > snapshots.KEEP:  # killed before it could remove the oldest
                snapshots.prune(self._snapshots, {p for p, _ in islice(self._whole(), snapshots.KEEP)})
        return (found.json, found.tensors) if found else None

    def write(self, name: str, data: str | bytes) -> Path:
        """Write a file of the run (a report, a result) whole or not at all, and return its path."""
        self._writer()
        path = self._path(name)
        files.write_atomic(path, data)
        return path

    def read(self, name: str) -> bytes:
        """Return the content of a file of the run; raises RunError when it is not there."""
        path = self._path(name)
        try:
            return files.read_bytes(path)
        except FileNotFoundError as error:
            raise RunError(f"{self.folder} has no {name} yet") from error
        except OSError as error:
            raise files.failed("read", path, error) from error

    def close(self) -> None:
        """Flush the log and give the lock back; closing twice is nothing."""
        try:
            if self.writable:
                self._writer().sync()
        finally:
            self._shut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(RunError):  # the error that ended the block is the one to see
            self.close()

    def _writer(self) -> journal.Journal:
        if self._journal is None or not self.writable:
            raise RunError(f"{self.folder} is not open for writing: open it with write=True")
        return self._journal

    def _path(self, name: str) -> Path:
        if not name or name != os.path.basename(name) or name.startswith(".") or name in OWN:
            raise UsageError(f"{name!r} cannot be the name of a run's file: use a plain name such as 'report.html'")
        return self.folder / name

    def _clean(self) -> None:
        try:
            files.clean(self.folder)
            files.clean(self._snapshots)
        except OSError as error:
            raise files.failed("write in", self.folder, error) from error

    def _scan(self) -> journal.Scan:
        data = journal.read(self.folder / journal.NAME)
        found = journal.scan(data)
        self._note(*journal.reports(found, len(data), cut=False))
        return found

    def _whole(self) -> Iterator[tuple[Path, Snapshot]]:
        """Yield the snapshots that verify, newest first, and note the others."""
        for path in snapshots.listed(self._snapshots):
            try:
                yield path, snapshots.load(path)
            except snapshots.Damaged as error:
                self._note(f"{snapshots.FOLDER}/{path.name}: {error}, left out")
            except FileNotFoundError:
                continue  # a reader met the writer removing an old one

    def _rewind(self, found: Snapshot | None, older: Iterator[tuple[Path, Snapshot]]) -> None:
        """Bring the log to the snapshot: mended where it is damaged, cut where it is longer."""
        log = self._writer()
        target = found.offset if found else 0
        if found:
            self._heal(found, older)
        if log.offset < target:
            self._note(f"{journal.NAME}: the events from byte {log.offset} to byte {target} are lost")
        if log.offset > target:
            log.truncate(target)
        log.mark = log.offset

    def _heal(self, found: Snapshot, older: Iterator[tuple[Path, Snapshot]]) -> None:
        """Put the stretches of the log that the snapshots repeat back where the log differs."""
        log = self._writer()
        chain = [found]
        while log.offset < chain[-1].start or log.damaged_before(chain[-1].start):
            _, before = next(older, (None, None))
            if before is None or before.offset != chain[-1].start:  # the log was begun anew between the two
                break
            chain.append(before)
        for part in reversed(chain):
            if log.patch(part.start, part.log):
                self._note(f"{journal.NAME}: bytes {part.start} to {part.offset} mended from a snapshot")

    def _note(self, *texts: str) -> None:
        self._damage.update(dict.fromkeys(texts))

    def _shut(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._lock is not None:
            self._lock.release()


def _begin(path: Path, text: str, held: lock.Lock) -> Store:
    try:
        files.write_atomic(path / headers.NAME, text)
        return Store(path, headers.load(path), held)
    except BaseException:
        for name in (headers.NAME, journal.NAME):
            with suppress(OSError):
                os.unlink(path / name)
        raise


def _refuse_used(path: Path) -> None:
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise RunError(f"{path} is a file: give a folder for the run") from error
    except OSError as error:
        raise files.failed("create a run in", path, error) from error
    if headers.NAME in names:
        raise RunError(f"{path} already holds a run: resume it, or give another folder")
    if any(name != lock.NAME and not files.is_temporary(name) for name in names):
        raise RunError(f"{path} is not empty and not a run: give another folder")


def _make(path: Path) -> list[Path]:
    """Make the folder and those above it; return the ones that were made, deepest first."""
    missing = [p for p in (path, *path.parents) if not os.path.lexists(p)]
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        _unmake(missing)
        raise files.failed("create a run in", path, error) from error
    return missing


def _unmake(made: list[Path]) -> None:
    with suppress(OSError):  # another process may have put something there
        for folder in made:
            os.rmdir(folder)
