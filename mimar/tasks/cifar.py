"""CIFAR-10: colour images of 32×32 in 10 classes: the published files, and a packed JPEG subset of 12,000 images.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
"""

from __future__ import annotations

import importlib
import io
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mimar.core.errors import DataError
from mimar.tasks import checks, files, locate
from mimar.tasks.augment import BY_SIDE, Augment, resolved
from mimar.tasks.labelled import MEASURES, Bound, Labelled, bind, direct, prepare
from mimar.tasks.protocol import Measure

_PIXELS = 3 * 32 * 32


@direct
@dataclass(frozen=True)
class Cifar10:
    """The published 50,000 + 10,000 images; `folder` holds the binary (.bin) or the Python version, unpacked.

    `size`: 32, or 16 by averaging 2×2. `limit`: number of training images, the same number of every class.
    Training batches are shifted by up to an eighth of the side (4 pixels at 32) and mirrored by default, as usual for
    this set; the DARTS retraining adds cutout=16.
    """

    folder: str | None = None
    limit: int | None = None
    size: int = 32
    augment: Augment | None = BY_SIDE
    valid_fraction: float = 0.5

    name: ClassVar[str] = "cifar10"
    measures: ClassVar[tuple[Measure, ...]] = MEASURES
    classes: ClassVar[int] = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", resolved(self.augment, self.size, flip=True))
        checks.options(self.limit, self.valid_fraction, self.augment, classes=10)
        checks.one_of("size", self.size, (32, 16))

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    def split(self, seed: int) -> Bound:
        """Return the task with its splits drawn from `seed`; raises DataAbsentError where the files are not here."""
        place = locate.find(self.name, self.folder)
        binary = all((place / name).is_file() for name in locate.CIFAR_BINARY)
        names = locate.CIFAR_BINARY if binary else locate.CIFAR_PYTHON
        stamp = files.stamp(*(place / name for name in names))
        return bind(self, _prepared(stamp, self.size, self.limit), seed, self.valid_fraction)


@direct
@dataclass(frozen=True)
class Cifar10Packed:
    """10,000 + 2,000 images as JPEG (quality 75): fine for searching and ranking, not for quoting CIFAR-10 results.

    The file cifar10_jpeg_12k.npz is looked for in `folder`, or in tasks/ of $MIMAR_DATA. `size`, `limit` and the
    augmentation are as in `Cifar10`.
    """

    folder: str | None = None
    limit: int | None = None
    size: int = 32
    augment: Augment | None = BY_SIDE
    valid_fraction: float = 0.5

    name: ClassVar[str] = "cifar10-packed"
    measures: ClassVar[tuple[Measure, ...]] = MEASURES
    classes: ClassVar[int] = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", resolved(self.augment, self.size, flip=True))
        checks.options(self.limit, self.valid_fraction, self.augment, classes=10)
        checks.one_of("size", self.size, (32, 16))

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    def split(self, seed: int) -> Bound:
        """Return the task with its splits drawn from `seed`; raises DataAbsentError where the file is not here."""
        stamp = files.stamp(locate.find(self.name, self.folder))
        return bind(self, _prepared_packed(stamp, self.size, self.limit), seed, self.valid_fraction)


@lru_cache(maxsize=2)
def _prepared(stamp: files.Stamp, size: int, limit: int | None) -> Labelled:
    parts = [batch(path) for path, _, _ in stamp]
    x, y = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
    checks.labels(y, len(y), what="the labels of cifar10")
    return prepare(files.shrunk(x, size), y, test=torch.arange(len(y)) >= len(y) - len(parts[-1][1]), limit=limit)


def batch(path: str) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, 32, 32) uint8 and labels of one published file; raises DataError where it is damaged."""
    content = files.read(path)
    if not path.endswith(".bin"):
        return _from_pickle(content, path)
    if not content or len(content) % (1 + _PIXELS):
        raise DataError(f"{path} is damaged: {len(content)} bytes are not a multiple of {1 + _PIXELS}, one image each")
    rows = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, 1 + _PIXELS)
    return _tenfold(rows[:, 1:].reshape(-1, 3, 32, 32).contiguous(), rows[:, 0].to(torch.int64), path)


def _tenfold(x: Tensor, y: Tensor, path: str) -> tuple[Tensor, Tensor]:
    if not 0 <= int(y.min()) <= int(y.max()) <= 9:
        raise DataError(f"{path} is damaged: it has labels from {int(y.min())} to {int(y.max())}, expected 0 to 9")
    return x, y


class _Plain(pickle.Unpickler):
    """An unpickler that knows NumPy arrays and bytes and nothing else, so that a file cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")
        allowed = {
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy._core.numeric", "_frombuffer"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it wants to load {module}.{name}")
        return getattr(importlib.import_module(module), name)


def _from_pickle(content: bytes, path: str) -> tuple[Tensor, Tensor]:
    try:
        loaded = _Plain(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise anything at all
        raise DataError(f"{path} is not a CIFAR-10 batch: {error}") from error
    if not isinstance(loaded, dict):
        raise DataError(f"{path} is not a CIFAR-10 batch: it holds no dictionary")
    values = {k.decode(errors="replace") if isinstance(k, bytes) else k: v for k, v in loaded.items()}
    if "data" not in values or "labels" not in values:
        raise DataError(f"{path} is not a CIFAR-10 batch: it has no entries data and labels")
    import numpy as np

    x = np.asarray(values["data"])
    if x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != _PIXELS or not len(x):
        raise DataError(f"{path} is damaged: data is {x.dtype} {x.shape}, expected uint8 (N, {_PIXELS})")
    y = checks.labels(values["labels"], len(x), what=f"{path}: labels", classes=10)
    return torch.from_numpy(x.reshape(-1, 3, 32, 32).copy()), y


@lru_cache(maxsize=2)
def _prepared_packed(stamp: files.Stamp, size: int, limit: int | None) -> Labelled:
    x, y, test = _unpacked(stamp)
    return prepare(files.shrunk(x, size), y, test=test, limit=limit)


@lru_cache(maxsize=1)
def _unpacked(stamp: files.Stamp) -> tuple[Tensor, Tensor, Tensor]:
    import numpy as np

    path = stamp[0][0]
    try:
        with np.load(io.BytesIO(files.read(path)), allow_pickle=False) as packed:
            head, data, length, label, test = (packed[k] for k in ("head", "data", "length", "label", "test"))
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        TypeError,
        AttributeError,
    ) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    ends = np.cumsum(length.astype(np.int64))
    if not len(ends) or ends[-1] != len(data) or len(label) != len(ends) or len(test) != len(ends):
        raise DataError(f"{path} is damaged: its entries do not fit together")
    body = data.tobytes()
    jpegs = (head.tobytes() + body[a:b] + b"\xff\xd9" for a, b in zip(ends - length, ends, strict=True))
    x = np.stack([_decoded(jpeg, f"{Path(path).name}, image {i}") for i, jpeg in enumerate(jpegs)])
    y = checks.labels(label, len(x), what=f"{path}: label")
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), y, torch.from_numpy(test.astype(bool))


def _decoded(jpeg: bytes, where: str) -> Any:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg)) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{where} is damaged: {error}") from error
    if pixels.shape != (32, 32, 3):
        raise DataError(f"{where} is damaged: it is {pixels.shape[1]}×{pixels.shape[0]} pixels, expected 32×32")
    return pixels
