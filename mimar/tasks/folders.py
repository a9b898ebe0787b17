"""A user's own images: one folder a class, or the folders train and test with one folder a class in each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch

from mimar.core.errors import DataAbsentError, DataError, UsageError
from mimar.tasks import checks, files
from mimar.tasks.augment import BY_SIDE, Augment, resolved
from mimar.tasks.labelled import MEASURES, Bound, Labelled, bind, direct, prepare
from mimar.tasks.protocol import Measure

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@direct
@dataclass(frozen=True)
class Folder:
    """Images under `path`, scaled to size × size (sides independently, antialiased) with 1 (grey) or 3 channels.

    Classes are the sub-folders in alphabetical order; hidden ones, and files that are not named like an image, are left
    out. With sub-folders train and test that hold class folders, test is the test set, otherwise a fixed 20 %.
    `limit`: number of images outside the test set, the same number of every class.
    Training batches are shifted by up to an eighth of the side by default; mirroring may change what a user's image
    means, and is left to the user. A relative path is made absolute, so that a run resumes from anywhere.
    """

    path: str
    size: int = 32
    channels: int = 3
    limit: int | None = None
    augment: Augment | None = BY_SIDE
    valid_fraction: float = 0.5

    name: ClassVar[str] = "folder"
    measures: ClassVar[tuple[Measure, ...]] = MEASURES

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike) or not str(self.path):
            raise UsageError(f"path must name a folder with one folder a class; got {self.path!r}")
        object.__setattr__(self, "path", os.path.abspath(os.path.expanduser(self.path)))
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 4 <= self.size <= 1024:
            raise UsageError(f"size must be a whole number from 4 to 1024; got {self.size!r}")
        checks.one_of("channels", self.channels, (1, 3))
        object.__setattr__(self, "augment", resolved(self.augment, self.size, flip=False))
        checks.options(self.limit, self.valid_fraction, self.augment)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.size, self.size)

    @property
    def classes(self) -> int:
        return len(self.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, label 0 first."""
        return _labels(Path(self.path))

    def split(self, seed: int) -> Bound:
        """Return the task with its splits drawn from `seed`; raises DataError for what cannot be read, by name."""
        data = _prepared(_listing(Path(self.path)), self.size, self.channels, self.limit)
        return bind(self, data, seed, self.valid_fraction)


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise DataAbsentError(f"there is no folder {path}; pass one that holds one folder of images a class")
    try:
        return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {path}: {error.strerror}") from error


def _parts(path: Path) -> tuple[Path, Path | None]:
    """Return the folder that holds the classes, and the one of the test set where there is one."""
    found = _folders(path)
    halves = [p.name for p in found] == ["test", "train"]
    if halves and _folders(path / "train") and _folders(path / "test"):
        return path / "train", path / "test"
    return path, None


def _labels(path: Path) -> tuple[str, ...]:
    names = tuple(p.name for p in _folders(_parts(path)[0]))
    if len(names) < 2:
        raise DataError(f"{path} has {len(names)} class folder{'s' * (len(names) != 1)}; at least two are needed")
    return names


def _listing(path: Path) -> tuple[tuple[files.Stamp, int, bool], ...]:
    """Return (stamps of the images, label, is it the test set) of every class folder."""
    names = _labels(path)
    main, test = _parts(path)
    listed = [(files.stamp(*_images(main / name)), label, False) for label, name in enumerate(names)]
    for folder in _folders(test) if test else []:
        if folder.name not in names:
            raise DataError(f"{folder} has no counterpart in {main}: a class of the test set that is never trained")
        listed.append((files.stamp(*_images(folder)), names.index(folder.name), True))
    return tuple(listed)


def _images(folder: Path) -> list[Path]:
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}") from error
    if not found:
        raise DataError(f"{folder} holds no image; expected files that end in {', '.join(ENDINGS[:3])}, …")
    return sorted(found)


@lru_cache(maxsize=2)
def _prepared(
    listing: tuple[tuple[files.Stamp, int, bool], ...], size: int, channels: int, limit: int | None
) -> Labelled:
    import numpy as np

    rows = [(path, label, test) for stamp, label, test in listing for path, _, _ in stamp]
    pixels = np.stack([_pixels(path, size, channels) for path, _, _ in rows])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    y = torch.tensor([label for _, label, _ in rows])
    test = torch.tensor([t for _, _, t in rows])
    return prepare(x, y, test=test if test.any() else None, limit=limit)


def _pixels(path: str, size: int, channels: int) -> Any:
    """Return one image as uint8 (size, size, channels), turned upright."""
    import warnings

    import numpy as np
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata; what is broken raises below
            with Image.open(path) as opened:
                picture: Image.Image = ImageOps.exif_transpose(opened)
                if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits to white
                    picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
                picture = picture.convert("L" if channels == 1 else "RGB")
                scaled = picture.resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not an image that can be read: {error}") from error
    return np.asarray(scaled).reshape(size, size, channels)
