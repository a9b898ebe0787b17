"""What a data set must satisfy before anything is trained on it, and the sentences that say what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mimar.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from mimar.tasks.augment import Augment

WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def options(limit: int | None, valid_fraction: float, augment: Augment | None, *, classes: int = 2) -> None:
    """Raise UsageError unless the options that all sets share are within their ranges."""
    if not isinstance(valid_fraction, float) or not 0 < valid_fraction < 1:
        raise UsageError(f"valid_fraction must be a number between 0 and 1, both excluded; got {valid_fraction!r}")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 2 * classes):
        raise UsageError(f"limit must be a whole number of at least {2 * classes}, two images a class; got {limit!r}")
    if augment is not None and not callable(augment):
        raise UsageError(f"augment must be a mimar.tasks.Augment or None; got {augment!r}")


def one_of(key: str, value: object, allowed: tuple[int, ...]) -> None:
    """Raise UsageError unless the option `key` has one of the allowed values."""
    if value not in allowed or isinstance(value, bool):
        raise UsageError(f"{key} must be {' or '.join(map(str, allowed))}; got {value!r}")


def images(values: Any, *, what: str = "x") -> Tensor:
    """Return `values` as a fresh tensor (N, C, H, W), uint8 as it is and everything else float32.

    Takes a NumPy array, a tensor or nested lists of shape (N, C, H, W) or (N, H, W).
    Raises DataError for another shape, no samples, entries that are not numbers, NaN and infinity.
    """
    x = _tensor(values, what)
    if x.is_complex():
        raise DataError(f"{what} must hold real numbers; got {x.dtype}")
    if x.dim() == 3:
        x = x.unsqueeze(1)
    if x.dim() != 4:
        raise DataError(f"{what} must have the shape (N, C, H, W) or (N, H, W); got {tuple(x.shape)}")
    if x.numel() == 0:
        raise DataError(f"{what} is empty: its shape is {tuple(x.shape)}")
    _, channels, height, width = x.shape
    if width in (1, 3) and channels == height > 4:
        raise DataError(
            f"{what} has its channels last: {tuple(x.shape)}; pass (N, C, H, W), for example x.transpose(0, 3, 1, 2)"
        )
    if x.dtype != torch.uint8:
        x = x.to(torch.float32)
        bad = ~torch.isfinite(x).flatten(1).all(1)
        if bad.any():
            first = int(bad.nonzero()[0])
            raise DataError(
                f"{what} has NaN or infinite values in {int(bad.sum())} of {len(x)} samples, first in {first}"
            )
    return x.clone(memory_format=torch.contiguous_format)


def labels(values: Any, samples: int, *, what: str = "y", classes: int | None = None) -> Tensor:
    """Return `values` as int64 (N,): one label a sample, and every class of 0 … n−1 present.

    With `classes` given, labels need only be below it (a test set need not hold every class).
    Raises DataError for another shape, count or type, gaps between classes, and a single class.
    """
    y = _tensor(values, what)
    if y.dim() != 1:
        raise DataError(f"{what} must have the shape (N,), one label a sample; got {tuple(y.shape)}")
    if len(y) != samples:
        raise DataError(f"there are {samples} samples but {len(y)} labels in {what}")
    if y.dtype not in WHOLE:
        raise DataError(f"{what} must hold whole numbers from 0 to n−1; got {y.dtype}")
    y = y.to(torch.int64).clone()
    if int(y.min()) < 0:
        raise DataError(f"{what} must hold labels from 0 to n−1; got {int(y.min())}")
    if classes is not None:
        if int(y.max()) >= classes:
            raise DataError(f"{what} has the label {int(y.max())}, but there are only {classes} classes, from 0")
        return y
    found = torch.unique(y)
    if len(found) == 1:
        raise DataError(f"{what} has one class only; a classification needs at least two")
    if int(found[-1]) != len(found) - 1:
        gap = int((found != torch.arange(len(found))).nonzero()[0])
        raise DataError(
            f"{what} has {len(found)} classes with labels up to {int(found[-1])}, but no {gap}; number them 0 to n−1"
        )
    return y


def enough(y: Tensor, needed: int, classes: int, *, reason: str) -> None:
    """Raise DataError unless every class has at least `needed` samples in y."""
    counts = torch.bincount(y, minlength=classes)
    worst = int(counts.argmin())
    if int(counts[worst]) < needed:
        plural = "" if int(counts[worst]) == 1 else "s"
        raise DataError(f"class {worst} has {int(counts[worst])} sample{plural}, but {needed} are needed: {reason}")


def _tensor(values: Any, what: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    import numpy as np

    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{what} is not an array: its rows have different lengths") from error
    if array.dtype.kind not in "biufc":
        raise DataError(f"{what} must hold numbers; got {array.dtype}")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        array = array.astype(np.float32)
    try:
        return torch.from_numpy(np.array(array, order="C", dtype=array.dtype.newbyteorder("=")))
    except TypeError as error:
        raise DataError(f"{what} must hold numbers; got {array.dtype}") from error
