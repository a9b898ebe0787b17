"""Adam on the alphas, with a rate that lets small searches move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from mimar.core.optimisers import Rate, descend
from mimar.core.ranges import Range, validate

Beta = Annotated[float, Range(0.0, 0.999999)]


@dataclass(frozen=True)
class Adam:
    """Adam on the alphas, rate = max(lr, travel / outer steps).

    Adam moves an alpha by about its rate a step, so that `travel` is the distance an alpha can go in the whole search:
    the published 3e-4 over 20,000 steps travels 6, over 200 steps only 0.06, and the gates stay where they were.
    `travel=0` keeps `lr` whatever the length. Source: DARTS (2019): lr 3e-4, betas (0.5, 0.999); `travel` is ours.
    """

    lr: Rate = 3e-4
    beta1: Beta = 0.5
    beta2: Beta = 0.999
    travel: Annotated[float, Range(0.0, None)] = 3.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def rate(self, steps: int) -> float:
        """Return the rate for a search of `steps` outer steps."""
        return max(self.lr, self.travel / max(steps, 1))

    def optimiser(self, alphas: Sequence[Tensor]) -> torch.optim.Adam:
        """Return torch's optimiser over `alphas`; decay is a term of the outer loss."""
        return torch.optim.Adam(list(alphas), lr=self.lr, betas=(self.beta1, self.beta2))

    def step(self, optimiser: torch.optim.Optimizer, gradients: Sequence[Tensor], steps: int) -> None:
        """Take one of `steps` outer steps along `gradients`, in place."""
        descend(optimiser, gradients, self.rate(steps))
