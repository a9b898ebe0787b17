"""A reward for gates that are decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.trees import Tensors
from mimar.gradient.regularise.parts import Scope, View, seen
from mimar.gradient.relax import relaxed


@dataclass(frozen=True)
class ZeroOne:
    """−rate · mean (p − ½)² over all gates of relaxed choices: pushes independent gates to 0 or 1, and vanishes at ½.

    Raises UsageError without a view. Source: FairDARTS (Chu et al., 2020), rate 10; D-DARTS (Heuillet et al.,
    2021) has 9 and a mean for each cell.
    """

    rate: NonNegative = 10.0
    scope: ClassVar[Scope] = "outer"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        view = seen(view, self)
        gates = torch.cat([view.gates[c.name] for c in relaxed(view.space)])
        return -self.rate * (gates - 0.5).square().mean()
