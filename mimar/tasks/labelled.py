"""Labelled arrays as a task: stratified splits, batches, loss and evaluation. Every image set of mimar is bound here.

Shapes: N samples, B batch; x (N, C, H, W) uint8 or float32 as stored, normalised batch by batch; y (N,) int64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mimar.core.describe import digest_tensors
from mimar.core.errors import DataError, UsageError, nearest
from mimar.core.streams import Rng, draw, generator, stream
from mimar.tasks import checks
from mimar.tasks.augment import Augment
from mimar.tasks.protocol import SPLITS, Batch, Device, Forward, Measure, Task

T = TypeVar("T")
MEASURES = (Measure("accuracy", "max", "fraction"), Measure("loss", "min", "nats"))
TEST_FRACTION = 0.2
HOLDOUT_FRACTION = 0.2
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Labelled:
    """A checked data set: all samples, which of them are the test set, and the statistics of the others."""

    x: Tensor
    y: Tensor
    rest: Tensor  # indices of the samples outside the test set, ascending
    test: Tensor  # indices of the test set, ascending
    mean: Tensor  # (C, 1, 1) float32, over `rest`
    std: Tensor  # (C, 1, 1) float32, over `rest`; 1 where a channel is constant
    classes: int


def prepare(x: Tensor, y: Tensor, *, test: Tensor | None = None, limit: int | None = None) -> Labelled:
    """Return the data set of checked samples x and labels y.

    `test` is a mask of the published test samples; None cuts a stratified 20 % that no seed moves. `limit` keeps that
    many of the other samples, the same number of every class (one more for the first ones where it does not divide);
    a smaller limit keeps a part of a larger one's.
    Raises DataError when a class has too few samples, UsageError when `limit` is more than there is.
    """
    classes = int(y.max()) + 1
    if test is None:
        checks.enough(y, 3, classes, reason="one each for training, validation and test")
        chosen, rest = stratified(y, TEST_FRACTION, stream(0, "test"))
    else:
        chosen, rest = test.nonzero().flatten(), (~test).nonzero().flatten()
        if len(chosen) == 0:
            raise DataError("the test set is empty")
        checks.enough(y[rest], 2, classes, reason="one each for training and validation, beside the test set")
    if limit is not None:
        rest = rest[_balanced(y[rest], limit, classes)]
    mean, std = _statistics(x, rest)
    return Labelled(x, y, rest, chosen, mean, std, classes)


def stratified(y: Tensor, fraction: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the indices of a random `fraction` of y and of the others, both ascending, every class in proportion.

    Class sizes are rounded by largest remainder, at least one and at most all but one sample of each class.
    """
    counts = torch.bincount(y)
    exact = counts.double() * fraction
    take = exact.floor().long()
    missing = round(len(y) * fraction) - int(take.sum())
    take[torch.argsort(exact.floor() - exact, stable=True)[:missing]] += 1
    take = torch.minimum(take.clamp(min=1), counts - 1)
    grouped, rank = _ranked(y, rng)
    first = rank < take[y[grouped]]
    return grouped[first].sort().values, grouped[~first].sort().values


def _ranked(y: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return indices shuffled and grouped by class, and each one's position within its class."""
    order = torch.randperm(len(y), generator=rng)
    grouped = order[torch.argsort(y[order], stable=True)]
    counts = torch.bincount(y)
    rank = torch.arange(len(y)) - (counts.cumsum(0) - counts)[y[grouped]]
    return grouped, rank


def _balanced(y: Tensor, limit: int, classes: int) -> Tensor:
    if limit > len(y):
        raise UsageError(f"limit is {limit}, but there are only {len(y)} samples outside the test set")
    if limit < 2 * classes:
        raise UsageError(
            f"limit must be at least {2 * classes}, two samples for each of {classes} classes; got {limit}"
        )
    quota = torch.full((classes,), limit // classes) + (torch.arange(classes) < limit % classes)
    short = (torch.bincount(y, minlength=classes) < quota).nonzero().flatten()
    if len(short):
        c = int(short[0])
        have = int((y == c).sum())
        raise UsageError(f"limit={limit} needs {int(quota[c])} samples of every class, but class {c} has {have}")
    grouped, rank = _ranked(y, stream(0, "limit"))
    return grouped[rank < quota[y[grouped]]].sort().values


def _statistics(x: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation by channel, in float64 and by NumPy: no thread count can change them."""
    import numpy as np

    axes, pixels = (0, 2, 3), len(rest) * x.shape[2] * x.shape[3]
    chunks = [part.numpy() for part in rest.split(_CHUNK)]
    values = x.numpy()
    mean = sum(values[c].astype(np.float64).sum(axes) for c in chunks) / pixels
    spread = sum(((values[c].astype(np.float64) - mean[:, None, None]) ** 2).sum(axes) for c in chunks)
    std = np.sqrt(spread / pixels)
    std[std <= 1e-6 * np.abs(mean)] = 1.0  # a constant channel stays, centred
    std[std == 0] = 1.0
    return tuple(torch.from_numpy(v.astype(np.float32)).view(-1, 1, 1) for v in (mean, std))  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class Bound:
    """A labelled data set with its splits drawn from one seed; see `mimar.tasks.protocol.BoundTask`."""

    task: Task
    data: Labelled
    seed: int
    index: dict[str, Tensor] = field(repr=False)

    @property
    def splits(self) -> tuple[str, ...]:
        return SPLITS

    def size(self, split: str) -> int:
        """Return the number of samples in a split."""
        return len(self._of(split))

    def steps(self, split: str, size: int, drop_last: bool = False) -> int:
        """Return the number of batches of `size` in one pass over a split."""
        if not isinstance(size, int) or size < 1:
            raise UsageError(f"the batch size must be a whole number of at least 1; got {size!r}")
        n = self.size(split)
        return n // size if drop_last else -(-n // size)

    def batches(
        self,
        split: str,
        rng: Rng | None,
        *,
        size: int = 64,
        start: int = 0,
        augment: Augment | None = None,
        device: Device = "cpu",
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """Return one pass over a split, from batch `start` on, at no cost for the skipped ones.

        With `rng` the order is a permutation drawn from it, and batch i is augmented from stream(base, i), base being
        the one number drawn next: all draws from `rng` happen in this call. Without, the order is fixed.
        """
        index, steps = self._of(split), self.steps(split, size, drop_last)
        if steps == 0:
            raise DataError(f"{split!r} has {len(index)} samples, fewer than one batch of {size}; use a smaller batch")
        if not 0 <= start <= steps:
            raise UsageError(f"start must be from 0 to {steps}, the number of batches in {split!r}; got {start!r}")
        base = 0
        if rng is not None:
            rng = generator(rng)
            index = index[torch.randperm(len(index), generator=rng)]
            base = draw(rng)
        elif augment is not None:
            raise UsageError("augmentation needs a random stream; pass rng=mimar.core.streams.stream(seed, name)")

        def made() -> Iterator[Batch]:
            for i in range(start, steps):
                yield self._batch(index[i * size : (i + 1) * size], augment, stream(base, i), device)

        return made()

    def sample(
        self,
        split: str,
        rng: Rng,
        *,
        size: int = 64,
        augment: Augment | None = None,
        device: Device = "cpu",
    ) -> Batch:
        """Return one random batch of `size` different samples (all of the split where it has fewer)."""
        self.steps(split, size)
        index, rng = self._of(split), generator(rng)
        chosen = index[torch.randperm(len(index), generator=rng)[:size]]
        return self._batch(chosen, augment, stream(draw(rng), 0), device)

    def statistics(self) -> dict[str, list[float]]:
        """Return {"mean", "std"} by channel, of the raw values: a network sees (raw − mean) / std."""
        return {"mean": self.data.mean.flatten().tolist(), "std": self.data.std.flatten().tolist()}

    def inputs(self, batch: Batch) -> Tensor:
        """Return what a network is called with: x (B, C, H, W)."""
        return batch.x

    def loss(self, forward: Forward, batch: Batch) -> Tensor:
        """Return the mean cross entropy of forward(batch.x), which must be (B, classes), in nats."""
        return nn.functional.cross_entropy(self._logits(forward, batch), batch.y)

    @torch.no_grad()
    def evaluate(self, forward: Forward, split: str, *, size: int = 256, device: Device = "cpu") -> dict[str, float]:
        """Return {"accuracy": fraction, "loss": nats} of a whole split, without gradients and without augmentation.

        The caller puts the network in evaluation mode; a network that diverged has a loss that is not finite.
        """
        right, total = 0, 0.0
        for batch in self.batches(split, None, size=size, device=device):
            logits = self._logits(forward, batch)
            right += int((logits.argmax(1) == batch.y).sum())
            total += float(nn.functional.cross_entropy(logits.double(), batch.y, reduction="sum"))
        n = self.size(split)
        return {"accuracy": right / n, "loss": total / n}

    @torch.no_grad()
    def measured(self, forward: Forward, batch: Batch) -> dict[str, float]:
        """Return {"accuracy": fraction, "loss": nats} of one batch, without gradients."""
        logits = self._logits(forward, batch)
        right = float((logits.argmax(1) == batch.y).double().mean())
        return {"accuracy": right, "loss": float(nn.functional.cross_entropy(logits.double(), batch.y))}

    def cost(self, net: nn.Module) -> dict[str, int]:
        """Return {"params": …, "macs": …} of a network on one image of this task; its modes are left as they were."""
        from mimar.core import count

        parameter = next(net.parameters(), None)
        x = torch.zeros(1, *self.task.shape, device=None if parameter is None else parameter.device)
        modes = [(m, m.training) for m in net.modules()]
        try:
            net.eval()  # batch-norm over a single image would fail in training mode
            with torch.no_grad():
                return {"params": count.params(net), "macs": count.macs(net, x)}
        finally:
            for module, training in modes:
                module.training = training

    def digest(self) -> str:
        """Return a digest of all samples and labels in use: two runs with equal digests had the same data."""
        used = torch.cat([self.data.rest, self.data.test])
        return digest_tensors({"x": self.data.x[used], "y": self.data.y[used]}, str(len(self.data.test)))

    def _of(self, split: str) -> Tensor:
        if split not in self.index:
            raise UsageError(nearest(split, self.index, kind="split"))
        return self.index[split]

    def _batch(self, index: Tensor, augment: Augment | None, rng: torch.Generator, device: Device) -> Batch:
        mean, std = self.data.mean, self.data.std
        x = (self.data.x[index].to(torch.float32) - mean) / std
        if augment is not None:
            x = augment(x, rng, fill=-mean / std)
        return Batch(x.to(device), self.data.y[index].to(device))

    def _logits(self, forward: Forward, batch: Batch) -> Tensor:
        logits = forward(batch.x)
        expected = (len(batch.y), self.data.classes)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise DataError(
                f"the network returned {got} for {expected[0]} samples and {expected[1]} classes; expected {expected}"
            )
        return logits


def bind(task: Task, data: Labelled, seed: int, valid_fraction: float) -> Bound:
    """Return `task` with its splits drawn from `seed`: train | valid and fit | holdout, each covering all but test."""
    y = data.y[data.rest]
    valid, train = stratified(y, valid_fraction, stream(seed, "split"))
    holdout, fit = stratified(y, HOLDOUT_FRACTION, stream(seed, "holdout"))
    parts = {"train": train, "valid": valid, "fit": fit, "holdout": holdout}
    return Bound(task, data, seed, {**{k: data.rest[v] for k, v in parts.items()}, "test": data.test})


DIRECT = ("size", "steps", "batches", "sample", "inputs", "statistics", "loss", "evaluate", "cost", "digest")


def direct(task: type[T]) -> type[T]:
    """Give a task the methods of its binding to seed 0, so that it can be used without a split of one's own."""

    def method(name: str) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **options: Any) -> Any:
            return getattr(self.split(0), name)(*args, **options)

        call.__name__ = name
        call.__doc__ = f"As `split(0).{name}`: the task with the splits of seed 0."
        return call

    for name in DIRECT:
        setattr(task, name, method(name))
    return task
