"""Distillation from earlier steps of the same search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Count, NonNegative, Positive, validate
from mimar.core.trees import Tensors
from mimar.gradient.regularise.parts import Moment, Scope, View, seen


@dataclass(frozen=True)
class Distil:
    """The supernet learns from its own past, whose snapshots vote.

        rate · T² · KL(p_T ‖ p_S),    p_T = mean over teachers of softmax(z_t / T),    p_S = softmax(z / T)

    z (…, classes): the outputs of this pass, z_t those of the last `teachers` snapshots of weights, alphas and buffers on
    the same batch and noise, without gradient; a snapshot is taken after every `every`-th weight step. The mean is over
    all rows. 0 before the first snapshot. Raises UsageError without a view. Costs one forward pass a teacher.
    Source: SD-DARTS (Zhu et al., 2023), after its abstract: number and distance of teachers, rate and T are our choice.
    """

    rate: NonNegative = 1.0
    teachers: Count = 3
    every: Count = 50
    temperature: Positive = 1.0
    scope: ClassVar[Scope] = "inner"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        view = seen(view, self)
        if not self.rate:
            return view.loss.new_zeros(())
        votes = self.votes(view, len(weights), len(alphas))
        total = view.loss.new_zeros(())
        if not votes:
            return total
        for output, vote in zip(view.outputs, votes, strict=True):
            student = torch.log_softmax(_rows(output) / self.temperature, dim=-1)
            total = total + (torch.xlogy(vote, vote) - vote * student).sum() / len(vote)
        return self.rate * self.temperature**2 * total / len(votes)

    @torch.no_grad()
    def votes(self, view: View, weights: int, alphas: int) -> list[Tensor]:
        """Return the teachers' mean probabilities, (rows, classes) for each output; empty without teachers."""
        found: list[Tensor] = []
        count = min(int(view.held.get("ring/count", torch.zeros(()))), self.teachers)
        for slot in range(count):
            kept = [view.held[f"ring/{slot}/{i}"] for i in range(_size(view.held, slot))]
            past = view.relax(tuple(kept[weights : weights + alphas]))
            outputs, _ = view.again(weights=tuple(kept[:weights]), gates=past, buffers=tuple(kept[weights + alphas :]))
            shares = [torch.softmax(_rows(z) / self.temperature, dim=-1) / count for z in outputs]
            found = [a + b for a, b in zip(found, shares, strict=True)] if found else shares
        return found

    def keeps(self, weights: Tensors, alphas: Tensors) -> dict[str, Tensor]:
        """Return the number of snapshots taken; the snapshots follow."""
        return {"ring/count": torch.zeros((), dtype=torch.int64)}

    def settle(self, held: dict[str, Tensor], moment: Moment) -> None:
        """Take a snapshot if one is due, over the oldest where the ring is full: "ring/slot/i", weights, alphas, buffers."""
        if (moment.step + 1) % self.every:
            return
        slot = int(held["ring/count"]) % self.teachers
        for i, tensor in enumerate((*moment.weights, *moment.alphas, *moment.buffers)):
            held[f"ring/{slot}/{i}"] = tensor.detach().clone()
        held["ring/count"] += 1


def _size(held: dict[str, Tensor], slot: int) -> int:
    return sum(name.startswith(f"ring/{slot}/") for name in held)


def _rows(output: Tensor) -> Tensor:
    return output.reshape(-1, output.shape[-1])
