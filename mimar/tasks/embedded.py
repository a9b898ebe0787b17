"""The digits of scikit-learn: 1,797 grey images of 8×8 in 10 classes, which no one has to fetch. The default task.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), test part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from mimar.tasks import checks, locate
from mimar.tasks.augment import BY_SIDE, Augment, resolved
from mimar.tasks.labelled import MEASURES, Bound, Labelled, bind, direct, prepare
from mimar.tasks.protocol import Measure


@direct
@dataclass(frozen=True)
class Digits:
    """Handwritten digits, 8×8; the test set is a fixed stratified 20 % (359 images), so that accuracies saturate.

    `limit`: number of images outside the test set, the same number of every class. Training batches are shifted by
    one pixel by default, and never mirrored: a mirrored digit is another sign or none.
    """

    limit: int | None = None
    augment: Augment | None = BY_SIDE
    valid_fraction: float = 0.5

    name: ClassVar[str] = "digits"
    measures: ClassVar[tuple[Measure, ...]] = MEASURES
    shape: ClassVar[tuple[int, ...]] = (1, 8, 8)
    classes: ClassVar[int] = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", resolved(self.augment, 8, flip=False))
        checks.options(self.limit, self.valid_fraction, self.augment, classes=10)

    def split(self, seed: int) -> Bound:
        """Return the task with its splits drawn from `seed`."""
        return bind(self, _prepared(self.limit), seed, self.valid_fraction)


@lru_cache(maxsize=2)
def _prepared(limit: int | None) -> Labelled:
    locate.find("digits")
    from sklearn.datasets import load_digits

    values = load_digits()
    x = torch.from_numpy(values.images).to(torch.uint8).unsqueeze(1).contiguous()  # grey levels 0 … 16
    return prepare(x, torch.from_numpy(values.target).to(torch.int64), limit=limit)
