"""Fashion-MNIST: 60,000 + 10,000 grey images of 28×28 in 10 classes, with its published test set.

Source: Xiao, Rasul and Vollgraf, arXiv:1708.07747 (2017); MIT licence.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.errors import DataError
from mimar.tasks import checks, files, locate
from mimar.tasks.augment import BY_SIDE, Augment, resolved
from mimar.tasks.labelled import MEASURES, Bound, Labelled, bind, direct, prepare
from mimar.tasks.protocol import Measure

ADDRESS = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
# SHA-256 of the unpacked files: Debian's package and the public address pack the same bytes differently.
SHA256 = dict(
    zip(
        locate.FASHION_FILES,
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        strict=True,
    )
)


@direct
@dataclass(frozen=True)
class FashionMnist:
    """Clothes, 28×28, or 14×14 by averaging; `folder` holds the four published .gz files.

    `limit`: number of training images, the same number of every class. Training batches are shifted by up to an eighth
    of the side and mirrored by default: clothes look alike from both sides, and shoes may point either way.
    """

    folder: str | None = None
    limit: int | None = None
    size: int = 28
    augment: Augment | None = BY_SIDE
    valid_fraction: float = 0.5

    name: ClassVar[str] = "fashion-mnist"
    measures: ClassVar[tuple[Measure, ...]] = MEASURES
    classes: ClassVar[int] = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", resolved(self.augment, self.size, flip=True))
        checks.options(self.limit, self.valid_fraction, self.augment, classes=10)
        checks.one_of("size", self.size, (28, 14))

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, self.size, self.size)

    def split(self, seed: int) -> Bound:
        """Return the task with its splits drawn from `seed`; raises DataAbsentError where the files are not here."""
        place = locate.find(self.name, self.folder)
        stamp = files.stamp(*(place / name for name in locate.FASHION_FILES))
        return bind(self, _prepared(stamp, self.size, self.limit), seed, self.valid_fraction)


@lru_cache(maxsize=2)
def _prepared(stamp: files.Stamp, size: int, limit: int | None) -> Labelled:
    train_x, train_y, test_x, test_y = _read(stamp)
    x, y = torch.cat([train_x, test_x]), torch.cat([train_y, test_y])
    return prepare(files.shrunk(x, size), y, test=torch.arange(len(y)) >= len(train_y), limit=limit)


@lru_cache(maxsize=1)
def _read(stamp: files.Stamp) -> tuple[Tensor, ...]:
    loaded = []
    for path, _, _ in stamp:
        content = files.unzipped(path)
        verify(Path(path).name, content, path)
        loaded.append(idx(content, path))
    pictures, marks = [v.unsqueeze(1) for v in loaded[::2]], [v.to(torch.int64) for v in loaded[1::2]]
    return pictures[0], marks[0], pictures[1], marks[1]


def verify(name: str, content: bytes, where: str) -> None:
    """Raise DataError unless the unpacked `content` is that of the published file `name`."""
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise DataError(f"{where} is not the published {name}: its SHA-256 differs; get it again")


def idx(content: bytes, where: str) -> Tensor:
    """Return the uint8 array of an unpacked IDX file; raises DataError where it is none."""
    rank = content[3] if len(content) > 4 and content[:3] == b"\0\0\x08" else 0
    head = 4 + 4 * rank
    if not rank or len(content) < head:
        raise DataError(f"{where} is not an IDX file of bytes")
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, head, 4)]
    if torch.Size(shape).numel() != len(content) - head:
        raise DataError(f"{where} announces an array of {shape}, but holds {len(content) - head} bytes")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[head:].view(shape).clone()
