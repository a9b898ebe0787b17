"""The one place that downloads, and only when asked by name: `mimar data fashion-mnist --fetch`."""

from __future__ import annotations

import gzip
import os
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from mimar.core.errors import DataAbsentError, DataError, UsageError, nearest
from mimar.tasks import fashion, locate

FETCHABLE = ("fashion-mnist",)


def fetch(name: str, folder: str | Path | None = None, *, address: str = fashion.ADDRESS) -> Path:
    """Download a data set into `folder` (default: the user's cache), verify it, and return the folder.

    Each file is written beside and renamed into place once its SHA-256 is right; files that are there are kept.
    Raises UsageError for a set that has no public address here, DataAbsentError when the address does not answer,
    DataError when what came is not the published file or cannot be written.
    """
    if name not in FETCHABLE:
        if name in locate.SOURCES:
            raise UsageError(f"{name} cannot be fetched; {locate.SOURCES[name].advice}")
        raise UsageError(nearest(name, FETCHABLE, kind="data set to fetch"))
    target = Path(folder) if folder is not None else locate.cache() / name
    for file in locate.FASHION_FILES:
        if not (target / file).is_file():
            _store(target / file, _verified(file, address + file))
    return target


def _verified(file: str, address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            packed: bytes = answer.read()
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise DataAbsentError(f"cannot fetch {address}: {error}") from error
    try:
        content = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{address} sent a damaged file: {error}") from error
    fashion.verify(file, content, address)
    return packed


def _store(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error.strerror}") from error
