"""Files that are whole or absent: written beside, flushed to the disk, renamed into place, the folder flushed too."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from mimar.core.errors import RunError

TEMPORARY = ".mimar-tmp"
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def failed(action: str, path: Path, error: OSError) -> RunError:
    """Say in one sentence that `action` on `path` did not work, and why."""
    if error.errno in FULL:
        return RunError(f"cannot {action} {path}: no space left there; everything complete so far is kept")
    return RunError(f"cannot {action} {path}: {(error.strerror or str(error)).lower()}")


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however many calls it takes."""
    view = memoryview(data)
    while view:
        count = os.write(fd, view)
        if count == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[count:]


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one, whole.

    Raises RunError when it cannot be written; then nothing half-written stays.
    """
    content = data.encode() if isinstance(data, str) else data
    beside = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        _write_new(beside, content)
        os.replace(beside, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(beside)
        if isinstance(error, OSError):
            raise failed("write", path, error) from error
        raise


def _write_new(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o666)
    try:
        write_all(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)


def read_bytes(path: Path) -> bytes:
    """Return a regular file's content; raises OSError. A pipe or a device in a stranger's run is not waited for."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read()


def is_temporary(name: str) -> bool:
    """Tell whether a file name is that of an unfinished file of ours."""
    return name.startswith(".") and name.endswith(TEMPORARY)


def clean(folder: Path) -> None:
    """Remove the unfinished files that a killed writer left in `folder`."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(folder):
            if is_temporary(name):
                os.unlink(folder / name)
