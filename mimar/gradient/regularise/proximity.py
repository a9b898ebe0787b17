"""The distance of the gates to the architecture that they would become."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.trees import Tensors
from mimar.gradient.regularise.parts import Scope, View, seen
from mimar.gradient.regularise.vectors import cells, length, vertex

LEAST = 1e-4  # the power's derivative is infinite at 0


@dataclass(frozen=True)
class Proximity:
    """Pulls the gates to the architecture that would be derived from them, the harder the later.

        progress · rate/2 · Σ_cells ‖v ⊙ (p − disc(p))‖,    v = 1,  or with `adjusted`  v = 4 (p^(ln 2 / ln |O|) − ½)²

    The norm is not squared; it is 0, with gradient 0, at discrete gates. disc(p): one-hot, as `Strongest` derives it,
    zeros on edges that are not among the two of their node; a constant. `adjusted` lets undecided gates (p = 1/|O|) free.
    Raises UsageError without a view. Source: DARTS-PRIME (Maile et al., 2021); its release adds progress to v, has no
    factor 4 there, and may take `none`.
    """

    rate: NonNegative = 0.1
    adjusted: bool = False
    scope: ClassVar[Scope] = "outer"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        view = seen(view, self)
        goal = vertex(view.space, view.gates)
        total = view.loss.new_zeros(())
        for group in cells(view.space).values():
            gaps = [self._weight(view.gates[c.name]) * (view.gates[c.name] - goal[c.name]) for c in group]
            total = total + length(torch.cat(gaps))
        return 0.5 * self.rate * view.progress * total

    def _weight(self, gate: Tensor) -> Tensor | float:
        if not self.adjusted or len(gate) == 1:
            return 1.0
        return 4 * (gate.clamp_min(LEAST) ** (math.log(2) / math.log(len(gate))) - 0.5).square()
