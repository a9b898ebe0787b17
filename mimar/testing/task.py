"""The laws of tasks: what is split, how batches repeat, what can be differentiated."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from mimar.core.streams import stream
from mimar.core.trees import finite
from mimar.testing.expect import expect, identical, untouched

CHUNK = 256


def check_task(task: Any, *, augment: Any = None, size: int = 8, seed: int = 0) -> None:
    """Raise AssertionError where a labelled task breaks a law.

    Train and valid, and fit and holdout, are disjoint and cover the same samples; every split has every class in about
    its share; the test split is the same for every seed and shares no sample with the others; batches repeat under
    their stream, start=k equals skipping k, and differ under another stream; nothing global is drawn from; the loss is
    a finite scalar that can be differentiated; `evaluate` gives every measure, fractions between 0 and 1. `augment` is
    applied to training batches besides none. Samples are compared by content, so that doubles in the data are counted.
    """
    task.split(seed)  # the libraries that read the data may draw when they are imported
    with untouched("the task", {}):
        bound, other = task.split(seed), task.split(seed + 1)
        _splits(bound, other)
        for augmented in (None, augment) if augment is not None else (None,):
            _batches(bound, augmented, size, seed)
        _sample(bound, size, seed)
        _loss(task, bound, size, seed)


def _contents(bound: Any, split: str) -> tuple[list[bytes], Tensor]:
    """Return every sample of a split as bytes, in fixed order, and the labels."""
    found: list[bytes] = []
    labels = []
    for batch in bound.batches(split, None, size=CHUNK):
        found += [x.contiguous().numpy().tobytes() + bytes([int(y) % 256]) for x, y in zip(*batch, strict=True)]
        labels.append(batch[1])
    return found, torch.cat(labels)


def _splits(bound: Any, other: Any) -> None:
    parts = {split: _contents(bound, split) for split in ("train", "valid", "fit", "holdout", "test")}
    for split, (samples, _) in parts.items():
        expect(
            len(samples) == bound.size(split), f"{split!r} gives {len(samples)} samples; size is {bound.size(split)}"
        )
    total = sorted(parts["train"][0] + parts["valid"][0])
    again = sorted(parts["fit"][0] + parts["holdout"][0])
    expect(total == again, "train and valid do not cover the same samples as fit and holdout")
    doubles = len(total) - len(set(total))
    for a, b in (("train", "valid"), ("fit", "holdout")):
        shared = len(set(parts[a][0]) & set(parts[b][0]))
        expect(shared <= doubles, f"{a!r} and {b!r} share {shared} samples; they must be disjoint")
    tests = parts["test"][0]
    leaked = len(set(tests) & set(total))
    allowed = len(tests) // 100 + doubles
    expect(leaked <= allowed, f"{leaked} samples of the test split are also outside of it; it must be disjoint")
    expect(_contents(other, "test")[0] == tests, "the test split depends on the seed; it must be fixed by the task")
    whole = torch.cat([parts["train"][1], parts["valid"][1]])
    share = torch.bincount(whole).double() / len(whole)
    for split, (_, labels) in parts.items():
        counts = torch.bincount(labels, minlength=len(share)).double()
        if split == "test":  # published test sets have shares of their own
            continue
        gap = float((counts - share * len(labels)).abs().max())
        expect(gap <= 2.0, f"a class in {split!r} is {gap:.0f} samples off its share; splits must be stratified")
    one, two = _contents(bound, "train")[0], _contents(other, "train")[0]
    expect(sorted(one) != sorted(two), "train is the same for two seeds; search halves must be drawn from the seed")


def _batches(bound: Any, augment: Any, size: int, seed: int) -> None:
    def drawn(number: int, start: int = 0, count: int = 4) -> list[Any]:
        batches = bound.batches("train", stream(seed, number), size=size, start=start, augment=augment)
        return list(itertools.islice(batches, count))

    first, again, later, other = drawn(0), drawn(0), drawn(0, start=2, count=2), drawn(1)
    for a, b in zip(first, again, strict=True):
        identical(a, b, "batches drawn again under the same stream")
    for a, b in zip(first[2:], later, strict=True):
        identical(a, b, "batches from start=2 beside those after skipping two")
    differ = any(not torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))
    expect(differ, "batches are the same under another stream; with a stream they must be shuffled by it")
    steps = bound.steps("train", size, drop_last=True)
    told = sum(1 for _ in bound.batches("train", None, size=size, drop_last=True))
    expect(steps == told == bound.size("train") // size, f"drop_last=True gives {told} batches, steps tells {steps}")


def _sample(bound: Any, size: int, seed: int) -> None:
    first, again, other = (bound.sample("valid", stream(seed, n), size=size) for n in (0, 0, 1))
    identical(first, again, "sample drawn again under the same stream")
    expect(not torch.equal(first[0], other[0]), "sample gives the same batch under another stream")


def _loss(task: Any, bound: Any, size: int, seed: int) -> None:
    batch = next(iter(bound.batches("train", None, size=size)))
    expect(tuple(batch[0].shape[1:]) == tuple(task.shape), f"a sample has the shape {tuple(batch[0].shape[1:])}, "
           f"but the task tells {tuple(task.shape)}")  # fmt: skip
    rng = stream(seed, "head")
    features = batch[0][0].numel()
    head = torch.randn(features, task.classes, generator=rng).div_(features**0.5).requires_grad_()
    loss = bound.loss(lambda x: x.flatten(1) @ head, batch)
    expect(loss.dim() == 0 and finite((loss.detach(),)), "the loss is no finite scalar")
    slope = torch.autograd.grad(loss, head)
    expect(finite(slope) and bool(slope[0].any()), "the loss cannot be differentiated in the network's outputs")
    figures = bound.evaluate(lambda x: x.flatten(1) @ head.detach(), "holdout")
    for measure in task.measures:
        expect(measure.name in figures, f"evaluate does not give the measure {measure.name!r}")
        expect(measure.direction in ("max", "min"), f"the direction of {measure.name!r} is {measure.direction!r}")
        fraction = measure.unit != "fraction" or 0.0 <= figures[measure.name] <= 1.0
        expect(fraction, f"the fraction {measure.name!r} is {figures[measure.name]}; it lies between 0 and 1")
