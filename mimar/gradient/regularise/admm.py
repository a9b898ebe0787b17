"""Discreteness of the gates by the alternating direction method of multipliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Count, NonNegative, validate
from mimar.core.trees import Tensors
from mimar.gradient.regularise.parts import Moment, Scope, View, seen
from mimar.gradient.regularise.vectors import cells, length, vertex
from mimar.gradient.relax import relaxed
from mimar.space import Choice, Space

DECAY = 0.2  # of the dual variables, at every renewal


@dataclass(frozen=True)
class Admm:
    """Pulls the gates p to a discrete z, with dual variables u that remember how far they stayed away.

        rate/2 · Σ_cells ‖p − z + u‖,    every `every` alpha steps:  z = disc(p + u),  u ← 0.2 u + p − z

    The norm is not squared; it is 0, with gradient 0, at p = z − u. disc as in `Proximity`. z and u are first set by the
    first alpha step; before it the term is 0. Raises UsageError without a view. Source: DARTS-PRIME (Maile et al., 2021);
    its release takes raw alphas for p in the renewal of u, here they are gates.
    """

    rate: NonNegative = 0.1
    every: Count = 10
    scope: ClassVar[Scope] = "outer"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        view = seen(view, self)
        total, held = view.loss.new_zeros(()), view.held
        for group in cells(view.space).values():
            names = [c.name for c in group if f"admm/z/{c.name}" in held]
            if names:
                gaps = [view.gates[n] - held[f"admm/z/{n}"] + held[f"admm/u/{n}"] for n in names]
                total = total + length(torch.cat(gaps))
        return 0.5 * self.rate * total

    def keeps(self, weights: Tensors, alphas: Tensors) -> dict[str, Tensor]:
        """Return the number of alpha steps; z and u follow as "admm/z/choice" and "admm/u/choice"."""
        return {"admm/steps": torch.zeros((), dtype=torch.int64)}

    def settle(self, held: dict[str, Tensor], moment: Moment) -> None:
        """Renew z and u if it is time."""
        if int(held["admm/steps"]) % self.every == 0:
            space = moment.space
            space = _plain(moment) if space is None else space
            p = {n: g.detach() for n, g in moment.gates.items()}
            u = {c.name: held.get(f"admm/u/{c.name}", torch.zeros_like(p[c.name])) for c in relaxed(space)}
            for name, z in vertex(space, p | {n: p[n] + u[n] for n in u}).items():
                held[f"admm/z/{name}"] = z
                held[f"admm/u/{name}"] = DECAY * u[name] + p[name] - z
        held["admm/steps"] += 1


def _plain(moment: Moment) -> Space:
    """Return the choices that have alphas, each by itself: for moments that do not know their space."""
    names = [n for n in moment.names if n in moment.gates]
    return Space(Choice(n, tuple(map(str, range(len(moment.gates[n]))))) for n in names)
