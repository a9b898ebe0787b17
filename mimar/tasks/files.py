"""Reading files that may be damaged: every failure is a DataError that names the file."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import torch
from torch import Tensor

from mimar.core.errors import DataError

Stamp = tuple[tuple[str, int, int], ...]


def stamp(*paths: Path) -> Stamp:
    """Return path, time and size of each file: the key of what this process has read already."""
    try:
        found = [(p, p.stat()) for p in paths]
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error
    return tuple((str(p), s.st_mtime_ns, s.st_size) for p, s in found)


def read(path: str | Path) -> bytes:
    """Return the content of a file."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def unzipped(path: str | Path) -> bytes:
    """Return the unpacked content of a gzip file."""
    try:
        return gzip.decompress(read(path))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def shrunk(x: Tensor, size: int) -> Tensor:
    """Return uint8 images (N, C, H, W) averaged over blocks down to size × size, rounded; H must be a multiple."""
    block = x.shape[-1] // size
    if block == 1:
        return x
    parts = [torch.nn.functional.avg_pool2d(p.to(torch.float32), block) for p in x.split(2048)]
    return torch.cat([(p + 0.5).floor().to(torch.uint8) for p in parts])
