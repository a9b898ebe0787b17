"""A user's own arrays as a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from mimar.core.describe import describe, digest, digest_tensors
from mimar.core.errors import DataError
from mimar.tasks import checks
from mimar.tasks.augment import Augment
from mimar.tasks.labelled import MEASURES, Bound, Labelled, bind, direct, prepare
from mimar.tasks.protocol import Measure


@direct
@dataclass(frozen=True, eq=False)
class Arrays:
    """Arrays in memory, made by `arrays`. A run over them continues only from Python, with arrays of equal digest."""

    data: Labelled = field(repr=False)
    augment: Augment | None = None
    valid_fraction: float = 0.5

    name: ClassVar[str] = "arrays"
    measures: ClassVar[tuple[Measure, ...]] = MEASURES

    def __post_init__(self) -> None:
        checks.options(None, self.valid_fraction, self.augment)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.x.shape[1:])

    @property
    def classes(self) -> int:
        return self.data.classes

    def split(self, seed: int) -> Bound:
        """Return the task with its splits drawn from `seed`."""
        return bind(self, self.data, seed, self.valid_fraction)

    def identity(self) -> str:
        """Return the digest of samples, labels, test set and options: equal for equal tasks, in every process."""
        held = {"x": self.data.x, "y": self.data.y, "test": self.data.test}
        return digest_tensors(held, digest([describe(self.augment), self.valid_fraction]))


def arrays(
    x: Any,
    y: Any,
    test: tuple[Any, Any] | None = None,
    *,
    augment: Augment | None = None,
    valid_fraction: float = 0.5,
) -> Arrays:
    """Return the task of samples x (N, C, H, W) or (N, H, W) and whole-number labels y (N,) from 0 to n−1.

    Takes NumPy arrays, tensors or nested lists, and copies them. `test` is a pair (x, y) of test samples; without it a
    fixed stratified 20 % is cut off. Samples are normalised by mean and deviation of each channel over all but the
    test set. No augmentation unless given.
    Raises DataError for a wrong shape or type, NaN or infinity, labels that do not match, a single class, and a class
    with fewer samples than there are splits.
    """
    xs = checks.images(x)
    ys = checks.labels(y, len(xs))
    if test is None:
        return Arrays(prepare(xs, ys), augment, valid_fraction)
    if not isinstance(test, tuple | list) or len(test) != 2:
        raise DataError(f"test must be a pair (x, y) of arrays; got {type(test).__name__}")
    test_x = checks.images(test[0], what="test x")
    test_y = checks.labels(test[1], len(test_x), what="test y", classes=int(ys.max()) + 1)
    if test_x.shape[1:] != xs.shape[1:] or test_x.dtype != xs.dtype:
        raise DataError(
            f"test samples are {test_x.dtype} {tuple(test_x.shape[1:])}, but x holds {xs.dtype} {tuple(xs.shape[1:])}"
        )
    held = torch.arange(len(xs) + len(test_x)) >= len(xs)
    return Arrays(prepare(torch.cat([xs, test_x]), torch.cat([ys, test_y]), test=held), augment, valid_fraction)
