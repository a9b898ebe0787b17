"""The log of a run, events.jsonl: one event a line, each line with a checksum of itself.

    {"crc32":"1f0a77c2","event":"epoch","epoch":3,…}      checksum of {"event":"epoch","epoch":3,…}

A line is whole when it ends with a newline and its checksum fits. Reading leaves out what is not whole and says at
which byte; opening for writing cuts off a damaged end.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from mimar.core.errors import RunError, UsageError
from mimar.runs import codec, files

NAME = "events.jsonl"
FIELD = "crc32"
HEAD = b'{"crc32":"'
SKIP = len(HEAD) + 8 + 2  # the checksum's eight digits, a quote and a comma


class Scan(NamedTuple):
    """What a log holds: whole lines (without checksum) and damaged stretches (first byte, byte after the last)."""

    bodies: list[bytes]
    damaged: list[tuple[int, int]]
    end: int  # byte after the last whole line


def line(event: dict[str, Any]) -> bytes:
    """Return the line of one event; raises UsageError for what cannot be one."""
    if not isinstance(event, dict) or not event or FIELD in event:
        raise UsageError(f"an event is a dict with at least one field and none called {FIELD!r}, not {event!r}")
    body = codec.dumps(event, kind="event").encode()
    return b'%s%08x",%s\n' % (HEAD, zlib.crc32(body), body[1:])


def scan(data: bytes) -> Scan:
    """Split a log into whole lines and damaged stretches."""
    bodies: list[bytes] = []
    damaged: list[tuple[int, int]] = []
    start = end = 0
    while start < len(data):
        newline = data.find(b"\n", start)
        stop = len(data) if newline < 0 else newline + 1
        body = b"{" + data[start + SKIP : stop - 1]
        if newline >= 0 and data[start : start + SKIP] == b'%s%08x",' % (HEAD, zlib.crc32(body)):
            bodies.append(body)
            end = stop
        elif damaged and damaged[-1][1] == start:
            damaged[-1] = (damaged[-1][0], stop)
        else:
            damaged.append((start, stop))
        start = stop
    return Scan(bodies, damaged, end)


def parse(body: bytes) -> dict[str, Any] | None:
    """Return the event of a whole line; None where a stranger's checksum covers something else."""
    try:
        event = codec.loads(body)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def read(path: Path) -> bytes:
    """Return the log's bytes; a run without a log has an empty one."""
    try:
        return files.read_bytes(path)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise files.failed("read", path, error) from error


def reports(found: Scan, size: int, *, cut: bool) -> list[str]:
    """Say what is damaged, one sentence a stretch."""
    texts = []
    for start, stop in found.damaged:
        what = "cut off" if cut and stop == size else "left out"
        texts.append(f"{NAME}: damaged from byte {start} to byte {stop}, {what}")
    return texts


class Journal:
    """A log open for writing by this process alone; a damaged end is cut off on opening.

    `mark` is the byte where the part begins that the next snapshot repeats.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise files.failed("write", path, error) from error
        try:
            data = read(path)
            found = scan(data)
            self.damage = reports(found, len(data), cut=True)
            self._torn = len(data) > found.end
            self.offset = self.mark = found.end
            self._mend()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise files.failed("write", path, error) from error
            raise

    def append(self, event: dict[str, Any]) -> None:
        """Write one event, all of it or nothing; raises RunError when it cannot be written."""
        self._put(self.offset, line(event))

    def patch(self, start: int, data: bytes) -> bool:
        """Put `data` at byte `start` where the log differs; return whether it did."""
        if start > self.offset or self.between(start, start + len(data)) == data:
            return False
        self._put(start, data)
        return True

    def truncate(self, offset: int) -> None:
        """Cut the log to `offset` bytes."""
        self.offset, self._torn = offset, True
        try:
            self._mend()
        except OSError as error:
            raise files.failed("write", self._path, error) from error

    def sync(self) -> None:
        """Flush the log to the disk."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise files.failed("write", self._path, error) from error

    def between(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`."""
        return read(self._path)[start:stop]

    def damaged_before(self, offset: int) -> bool:
        """Tell whether a stretch before byte `offset` is damaged."""
        return any(start < offset for start, _ in scan(read(self._path)).damaged)

    def close(self) -> None:
        """Close the file; writing after it raises RunError."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _put(self, start: int, data: bytes) -> None:
        if self._fd < 0:
            raise RunError(f"{self._path} is closed: open the run again with write=True")
        try:
            self._mend()
            os.lseek(self._fd, start, os.SEEK_SET)
            files.write_all(self._fd, data)
            self.offset = max(self.offset, start + len(data))
        except BaseException as error:  # an interrupt between two writes must not leave half a line either
            self._torn = True
            try:
                self._mend()
            except OSError:
                pass  # still torn: the next write tries again, and the next opening cuts it
            if isinstance(error, OSError):
                raise files.failed("write", self._path, error) from error
            raise

    def _mend(self) -> None:
        if self._torn:
            os.ftruncate(self._fd, self.offset)
            self._torn = False
