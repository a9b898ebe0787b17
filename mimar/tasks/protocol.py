"""What every task offers: measures, batches of a split from an explicit stream, a loss, an evaluation, a cost.

Only the task opens a batch, so that images, graphs or sentences never reach the search loops.
Shapes: B batch, C channels, H height, W width; x (B, C, H, W) float32, y (B,) int64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from mimar.tasks.augment import Augment

Forward = Callable[[Tensor], Tensor]
Device = torch.device | str

SPLITS = ("train", "valid", "fit", "holdout", "test")


class Measure(NamedTuple):
    """One number that an evaluation returns: its name, the better direction ("max" or "min") and its unit."""

    name: str
    direction: str
    unit: str


class Batch(NamedTuple):
    """Inputs x (B, C, H, W), float32 and normalised, and labels y (B,), int64."""

    x: Tensor
    y: Tensor


class BoundTask(Protocol):
    """A task with its splits drawn from one seed.

    Splits: "train" and "valid" are the halves of a search and cover all data but the test set; "fit" (80 %) and
    "holdout" (20 %) divide the same data for retraining and for the choice among finished networks; "test" is fixed.
    """

    @property
    def task(self) -> Task: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def size(self, split: str) -> int: ...

    def steps(self, split: str, size: int, drop_last: bool = False) -> int: ...

    def batches(
        self,
        split: str,
        rng: torch.Generator | None,
        *,
        size: int = 64,
        start: int = 0,
        augment: Augment | None = None,
        device: Device = "cpu",
        drop_last: bool = False,
    ) -> Iterator[Batch]: ...

    def sample(
        self,
        split: str,
        rng: torch.Generator,
        *,
        size: int = 64,
        augment: Augment | None = None,
        device: Device = "cpu",
    ) -> Batch: ...

    def inputs(self, batch: Batch) -> Tensor: ...

    def loss(self, forward: Forward, batch: Batch) -> Tensor: ...

    def evaluate(
        self, forward: Forward, split: str, *, size: int = 256, device: Device = "cpu"
    ) -> dict[str, float]: ...

    def measured(self, forward: Forward, batch: Batch) -> dict[str, float]: ...

    def cost(self, net: nn.Module) -> dict[str, int]: ...

    def digest(self) -> str: ...


class Task(Protocol):
    """A data set with its measures: a frozen value, cheap to construct, that reads its data at the first `split`.

    `measures`: the first is the primary one; accuracies are fractions. `shape` is (C, H, W). `augment` is the default
    augmentation of training batches, None for none.
    """

    @property
    def name(self) -> str: ...

    @property
    def measures(self) -> tuple[Measure, ...]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def classes(self) -> int: ...

    @property
    def augment(self) -> Augment | None: ...

    def split(self, seed: int) -> BoundTask: ...
