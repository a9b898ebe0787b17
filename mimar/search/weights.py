"""The shared weights of a supernet under training: the inner level of every loop that trains one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mimar.core.derivatives import gradient
from mimar.core.errors import NonFiniteError, UsageError
from mimar.core.optimisers import Sgd
from mimar.core.state import State, copy_into, moments, restore_moments
from mimar.core.streams import stream
from mimar.gradient.regularise import Term
from mimar.search.lab import Lab


class SharedWeights:
    """Weights, batch-norm buffers and momentum of a supernet, tied to the tensors of a state.

    `step` is the only place where they change: one step w ← w − η ∇_w L1 with one update of the running statistics.
    """

    def __init__(self, lab: Lab, state: State, inner: Sgd, terms: Sequence[Term], batch: int) -> None:
        self.lab, self.state, self.inner, self.batch = lab, state, inner, batch
        self.terms = [t for t in terms if t.scope == "inner"]
        self.supernet, self.data = lab.supernet, lab.data
        self.weights, self.buffers = self.supernet.weights, self.supernet.buffers
        self.per_epoch = self.data.steps("train", batch, drop_last=True)
        if self.per_epoch == 0:
            raise UsageError(
                f"batch is {batch}, more than the {self.data.size('train')} training samples; make it smaller"
            )
        if held := state.group("weights"):
            copy_into(self.weights, held.values())
            copy_into(self.buffers, state.group("buffers").values())
        self.sgd = inner.optimiser(self.weights)
        restore_moments(self.sgd, state.group("sgd"))
        self._alias()

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """Return the training batches of an epoch from number `start` on."""
        rng, augment = stream(self.lab.seed, "train", epoch), self.data.task.augment
        return self.data.batches(
            "train", rng, size=self.batch, start=start, augment=augment, device=self.lab.device, drop_last=True
        )

    def step(self, batch: Any, gates: Mapping[str, Tensor], alphas: Sequence[Tensor], lr: float, at: int) -> float:
        """Take the weight step number `at` under `gates`; return the loss. Raises NonFiniteError."""
        new: list[tuple[Tensor, ...]] = []

        def forward(x: Any) -> Any:
            rng = stream(self.lab.seed, "net", "inner", at)
            y, buffers = self.supernet.call(self.weights, gates, x, rng=rng, update=True)
            new.append(buffers)
            return y

        loss = self.data.loss(forward, batch)
        for term in self.terms:
            loss = loss + term(self.weights, tuple(alphas))
        if not torch.isfinite(loss):
            raise NonFiniteError(
                f"the training loss became {float(loss.detach())} in step {at + 1} of the search; "
                f"lower the learning rate of the weights (now {lr:.3g}), clip their gradients, or look for NaN in the data"
            )
        first = not self.sgd.state
        self.inner.step(self.sgd, gradient(loss, self.weights), lr)
        copy_into(self.buffers, new[-1])
        if first:
            self._alias()  # the momentum exists from the first step on
        return float(loss.detach())

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
