"""Memory that is used again: the system zeroes every fresh page, which costs a supernet's step more than its arithmetic.

Buffers come back when their tensor is no longer used, and serve the next request of the same size. What lies idle is at
most what was in use at once.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALL = 1 << 16  # bytes; below it the allocator of the C library is as fast
TYPES: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


class Pool:
    """Idle buffers by size and type."""

    def __init__(self) -> None:
        self.idle: defaultdict[Any, list[np.ndarray]] = defaultdict(list)
        self.used = self.idle_bytes = self.most = 0

    def take(self, count: int, dtype: torch.dtype) -> Tensor:
        """Return an uninitialised tensor (count,), aligned to 64 bytes."""
        kind = TYPES[dtype]
        size = count * kind.itemsize
        if size < SMALL:
            return torch.empty(count, dtype=dtype)
        free = self.idle.get((size, kind))
        if free:
            raw = free.pop()
            self.idle_bytes -= size
        else:
            self._shrink(self.used + self.idle_bytes + size - self.most)
            whole = np.empty(size + 64, np.uint8)
            skip = -whole.ctypes.data % 64
            raw = whole[skip : skip + size].view(kind)
        self.used += size
        self.most = max(self.most, self.used)
        lent = raw.view(_Lent)
        lent.raw = raw
        return torch.from_numpy(lent)

    def _shrink(self, excess: int) -> None:
        """Let idle buffers go, the largest first, so that a new one does not make the whole larger than it ever was."""
        for key in sorted(self.idle, key=lambda k: -k[0]) if excess > 0 and self.idle_bytes else ():
            while excess > 0 and self.idle[key]:
                self.idle[key].pop()
                self.idle_bytes -= key[0]
                excess -= key[0]

    def give(self, raw: np.ndarray) -> None:
        """Take a buffer back."""
        size = raw.nbytes
        self.used -= size
        self.idle_bytes += size
        self.idle[size, raw.dtype].append(raw)

    def release(self) -> None:
        """Give all idle memory back to the system."""
        self.idle.clear()
        self.idle_bytes = 0


class _Lent(np.ndarray):
    """A buffer in use; returns to its pool when the last tensor on it is gone."""

    raw: Any = None

    def __del__(self) -> None:
        if self.raw is not None:
            POOL.give(self.raw)


POOL = Pool()


def empty(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return an uninitialised tensor (B, C, H, W), channels last; no view, so that it may be changed in place."""
    b, c, h, w = shape
    if b * c * h * w * TYPES[dtype].itemsize < SMALL:
        return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
    storage = POOL.take(b * c * h * w, dtype).untyped_storage()
    return torch.empty(0, dtype=dtype).set_(storage, 0, shape, (h * w * c, 1, w * c, c))


def version(x: Tensor) -> int:
    """Return a number that changes whenever `x` is changed in place."""
    return 0 if x.is_inference() else x._version
