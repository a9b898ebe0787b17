"""The shared weights of a supernet under training: the inner level of every loop that trains one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mimar.core.derivatives import gradient
from mimar.core.errors import NonFiniteError, UsageError
from mimar.core.optimisers import Sgd
from mimar.core.state import State, copy_into, moments, restore_moments
from mimar.core.streams import stream
from mimar.core.trees import Tensors
from mimar.gradient.schedule import Phase
from mimar.search.lab import Lab
from mimar.search.losses import BatchLoss
from mimar.supernet import Gates
from mimar.tasks import Augment

WORSE = 2.0  # a tuned step that makes the loss of its own batch this many times larger is undone


@dataclass(frozen=True)
class Taken:
    """What a weight step found: the loss, the norm of its gradient, and the gradient in the alphas of a joint step."""

    loss: float
    norm: float
    gates: Gates
    slopes: Tensors = ()


class SharedWeights:
    """Weights, batch-norm buffers and momentum of a supernet, tied to the tensors of a state.

    `step` is the only place where they change: one step w ← w − η ∇_w L1 with one update of the running statistics.
    """

    def __init__(self, lab: Lab, state: State, inner: Sgd, batch: int, split: str = "train") -> None:
        self.lab, self.state, self.inner, self.batch, self.split = lab, state, inner, batch, split
        self.supernet, self.data = lab.supernet, lab.data
        self.weights, self.buffers = self.supernet.weights, self.supernet.buffers
        self.per_epoch = self.data.steps(split, batch, drop_last=True)
        if self.per_epoch == 0:
            raise UsageError(
                f"batch is {batch}, more than the {self.data.size(split)} training samples; make it smaller"
            )
        self.load()

    def load(self) -> None:
        """Take weights, buffers and momentum from the state, where it has them."""
        if held := self.state.group("weights"):
            copy_into(self.weights, held.values())
            copy_into(self.buffers, self.state.group("buffers").values())
        self.sgd = self.inner.optimiser(self.weights)
        restore_moments(self.sgd, self.state.group("sgd"))
        self._alias()

    def calm(self) -> None:
        """Forget the momentum: a training that begins anew."""
        self.state.drop("sgd")
        self.sgd = self.inner.optimiser(self.weights)

    def batches(self, epoch: int, start: int, augment: Augment | None = None) -> Iterator[Any]:
        """Return the training batches of an epoch from number `start` on, augmented as the task asks or as given."""
        rng, own = stream(self.lab.seed, "train", epoch), augment or self.data.task.augment
        return self.data.batches(
            self.split, rng, size=self.batch, start=start, augment=own, device=self.lab.device, drop_last=True
        )

    def step(
        self, loss: BatchLoss, alphas: Tensors, lr: float, at: int, *, joint: bool = False, phase: Phase | None = None
    ) -> Taken:
        """Take the weight step number `at` on a loss; return what it found. Raises NonFiniteError.

        `joint`: the same pass gives the gradient in the alphas. `phase`: which weights train; the others rest.
        """
        held = alphas if joint else tuple(a.detach() for a in alphas)
        new: list[Tensors] = []
        gates = loss.gates(held, self.weights)
        _, value, rest = loss.passed(self.weights, held, gates, new)
        value = value + rest
        if not torch.isfinite(value):
            raise NonFiniteError(
                f"the training loss became {float(value.detach())} in step {at + 1} of the search; "
                f"lower the learning rate of the weights (now {lr:.3g}), clip their gradients, or look for NaN in the data"
            )
        found = gradient(value, (*self.weights, *held) if joint else self.weights)
        slopes, grads = found[len(self.weights) :], found[: len(self.weights)]
        first = not self.sgd.state
        length = self.inner.step(self.sgd, self._trained(grads, phase), lr)
        copy_into(self.buffers, new[0])
        if first or phase is not None:
            self._alias()  # the momentum exists from the first step of a weight on
        return Taken(float(value.detach()), length, gates, slopes)

    def careful(self, loss: BatchLoss, lr: float, at: int) -> Taken:
        """Take the weight step number `at` and undo it where the loss of its own batch is more than `WORSE` times as large after."""
        before = [t.clone() for t in (*self.weights, *self.buffers)]
        momentum = {name: t.clone() for name, t in moments(self.sgd).items()}
        taken = self.step(loss, (), lr, at)
        with torch.no_grad():
            _, value, rest = loss.passed(self.weights, (), loss.gates((), self.weights))
        if not float(value + rest) <= WORSE * taken.loss:  # nor where it is not a number
            copy_into((*self.weights, *self.buffers), before)
            self.calm()
            restore_moments(self.sgd, momentum)
            self._alias()
        return taken

    def tried(self, loss: BatchLoss, lr: float) -> tuple[Tensors, Tensors]:
        """Return weights and buffers as `step` would leave them, and leave them as they are, the momentum too."""
        new: list[Tensors] = []
        _, value, rest = loss.passed(self.weights, (), loss.gates((), self.weights), new)
        grads = gradient(value + rest, self.weights)
        weights = tuple(w.detach().clone() for w in self.weights)
        sgd = self.inner.optimiser(weights)
        restore_moments(sgd, {name: t.clone() for name, t in moments(self.sgd).items()})
        self.inner.step(sgd, grads, lr)
        return weights, new[0]

    def moving(self, phase: Phase | None) -> tuple[bool, ...] | None:
        """Return which weights train in a phase; None for all."""
        if phase is None or not (phase.only or phase.rest):
            return None
        names = (name.rpartition(".")[2] for name in self.supernet.weight_names)
        return tuple((not phase.only or n in phase.only) and n not in phase.rest for n in names)

    def _trained(self, grads: Tensors, phase: Phase | None) -> list[Tensor | None]:
        moving = self.moving(phase) or (True,) * len(grads)
        return [g if m else None for g, m in zip(grads, moving, strict=True)]

    def evaluate(self, gates: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the measures on the validation half, with the running statistics as they are."""
        return self.data.evaluate(
            lambda x: self.supernet.call(self.weights, gates, x, training=False), "valid", device=self.lab.device
        )

    def _alias(self) -> None:
        self.state.put("weights", self.supernet.weight_names, self.weights)
        self.state.put("buffers", self.supernet.buffer_names, self.buffers)
        held = moments(self.sgd)
        self.state.put("sgd", held.keys(), held.values())
