"""One writer to a run: a lock file that carries the writer's process number.

The lock is the kernel's (`flock`), so a killed writer leaves none behind. Forked children close it, or an orphaned data
worker would hold a dead run.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import suppress
from pathlib import Path

from mimar.core.errors import RunError
from mimar.runs import files

NAME = ".lock"
_held: weakref.WeakSet[Lock] = weakref.WeakSet()
_hooked: list[bool] = []  # the hook for forked children is registered once, at the first lock


class Lock:
    """The exclusive right to write a run folder, from construction to `release`.

    Raises RunError naming the process that holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._fd = _acquire(folder, self._path)
        _held.add(self)
        if not _hooked:
            os.register_at_fork(after_in_child=_forget)
            _hooked.append(True)

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._fd >= 0

    def release(self) -> None:
        """Give the lock back; the file goes too, so that a finished run holds only its results."""
        if self.held:
            with suppress(OSError):
                os.unlink(self._path)
            self.drop()

    def drop(self) -> None:
        """Close the lock file without touching the folder."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _acquire(folder: Path, path: Path) -> int:
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise files.failed("write in", folder, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            os.close(fd)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise RunError(f"{folder} is being written by {who}: wait until it ends, or use another folder") from error
        except OSError as error:
            os.close(fd)
            raise files.failed("lock", folder, error) from error
        if _current(fd, path):
            return _signed(fd, path)
        os.close(fd)


def _signed(fd: int, path: Path) -> int:
    """Write our process number into the file that we hold."""
    try:
        os.ftruncate(fd, 0)
        files.write_all(fd, f"{os.getpid()}\n".encode())
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)
        os.close(fd)
        raise files.failed("lock", path.parent, error) from error
    return fd


def _current(fd: int, path: Path) -> bool:
    """Tell whether the locked file is still the one in the folder: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _forget() -> None:
    for lock in list(_held):
        lock.drop()
