"""MNIST-1D: 5,000 short signals in 10 classes, made by the generator of its authors, without a download.

Source: Greydanus and Kobak, Scaling Down Deep Learning with MNIST-1D, ICML (2024); package mnist1d.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from mimar.tasks import checks, locate
from mimar.tasks.augment import Augment
from mimar.tasks.labelled import MEASURES, Bound, Labelled, bind, direct, prepare
from mimar.tasks.protocol import Measure

ROWS = 4


@direct
@dataclass(frozen=True)
class Mnist1d:
    """Signals of 40 samples as images of 4 equal rows, (1, 4, 40); the test set is a fixed stratified 20 %.

    Four rows, because two-dimensional cells halve height and width twice: a single row would not survive a 2×2 pool or
    a factorized reduction, and four rows of the same signal halve to two and one (width: 40, 20, 10). A k×k convolution
    then acts along time only, its rows adding up, but at the zero-padded borders.
    The data are those of the published set (seed 42, default arguments); the published test set is not stratified and
    is not used, so that accuracies compare with the published ones up to the choice of 1,000 test signals.
    No augmentation by default: the generator has shifted and distorted every signal already.
    """

    limit: int | None = None
    augment: Augment | None = None
    valid_fraction: float = 0.5

    name: ClassVar[str] = "mnist1d"
    measures: ClassVar[tuple[Measure, ...]] = MEASURES
    shape: ClassVar[tuple[int, ...]] = (1, ROWS, 40)
    classes: ClassVar[int] = 10

    def __post_init__(self) -> None:
        checks.options(self.limit, self.valid_fraction, self.augment, classes=10)

    def split(self, seed: int) -> Bound:
        """Return the task with its splits drawn from `seed`."""
        return bind(self, _prepared(self.limit), seed, self.valid_fraction)


@lru_cache(maxsize=2)
def _prepared(limit: int | None) -> Labelled:
    return prepare(*_made(), limit=limit)


@lru_cache(maxsize=1)
def _made() -> tuple[Tensor, Tensor]:
    """Return all signals (5000, 1, 4, 40) and labels; the generators that the package seeds get their state back."""
    locate.find("mnist1d")
    import numpy as np
    from mnist1d.data import get_dataset_args, make_dataset

    python, numpy = random.getstate(), np.random.get_state()
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
    x = torch.from_numpy(np.concatenate([made["x"], made["x_test"]]).astype(np.float32))
    y = torch.from_numpy(np.concatenate([made["y"], made["y_test"]]).astype(np.int64))
    return x[:, None, None, :].repeat(1, 1, ROWS, 1), y
