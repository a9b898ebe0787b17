"""Gates that do not compete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates
from mimar.gradient.relax.sampling import completed
from mimar.gradient.relax.softmax import Softmax
from mimar.space import Space


@dataclass(frozen=True)
class Sigmoid:
    """A sigmoid for every option by itself: one option's gain is no other's loss.

        p_o = 1 / (1 + exp(−α_o)),    α ~ bias + scale · N(0, 1) at the start

    Source: FairDARTS (Chu et al., 2020), equation 3, and D-DARTS (Heuillet et al., 2021).
    """

    bias: float = 0.0
    scale: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return alphas near the bias."""
        return {name: self.bias + a for name, a in Softmax(scale=self.scale).init(space, rng).items()}

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates between 0 and 1; choices of kind `some` stay open."""
        return completed(Gates({name: torch.sigmoid(a) for name, a in alphas.items()}), alphas, ctx)
