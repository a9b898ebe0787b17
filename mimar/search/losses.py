"""The two losses of a bilevel search on fixed batches, as functions of (weights, alphas) that touch nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from mimar.core.streams import stream
from mimar.core.trees import Tensors
from mimar.gradient.regularise import Term
from mimar.gradient.relax import Context, Gates, Relaxation
from mimar.supernet import Supernet
from mimar.tasks import BoundTask

Scope = Literal["inner", "outer"]


@dataclass(frozen=True)
class BatchLoss:
    """The loss of one batch under fixed noise, plus terms: loss(weights, alphas) → scalar, repeatable bit for bit.

    `fresh(j)` is the same loss on the j-th further batch, `split(w, a)` its (outputs, data loss, rest) for
    Gauss–Newton products. `noise` is (seed, names…) of the stream of the relaxation's and the network's noise.
    """

    supernet: Supernet
    relaxation: Relaxation
    names: Sequence[str]  # of the alphas
    data: BoundTask
    batch: Any
    buffers: Sequence[Tensor]
    noise: tuple[int | str, ...]
    terms: Sequence[Term] = ()
    progress: float = 0.0
    scope: Scope = "inner"
    draw: Callable[[int], Any] | None = field(default=None, compare=False)

    def gates(self, alphas: Sequence[Tensor]) -> Gates:
        """Return the gates of these alphas under the fixed noise."""
        ctx = Context(self.supernet.space, self.progress, stream(*self._noise("gates")), scope=self.scope)
        return self.relaxation.gates(dict(zip(self.names, alphas, strict=True)), ctx)

    def __call__(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        _, loss, rest = self.split(tuple(weights), tuple(alphas))
        return loss + rest

    def split(self, weights: Tensors, alphas: Tensors) -> tuple[Tensors, Tensor, Tensor]:
        """Return (network outputs, loss of them, sum of the terms)."""
        gates, outputs = self.gates(alphas), []

        def forward(x: Any) -> Any:
            rng = stream(*self._noise("net"))
            y = self.supernet.call(weights, gates, x, buffers=self.buffers, rng=rng)
            outputs.append(y)
            return y

        loss = self.data.loss(forward, self.batch)
        rest = sum((term(weights, alphas) for term in self.terms), start=torch.zeros((), device=loss.device))
        return tuple(outputs), loss, rest

    def fresh(self, j: int) -> BatchLoss:
        """Return the same loss on the j-th further batch, drawn with replacement from the search's stream."""
        assert self.draw is not None  # only the outer step hands this loss out, and it gives `draw`
        return replace(self, batch=self.draw(j))

    def _noise(self, name: str) -> tuple[int, Any, Any]:
        return (int(self.noise[0]), name, *self.noise[1:])  # type: ignore[return-value]
