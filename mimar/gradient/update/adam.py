"""Adam on the alphas, with a rate that lets small searches move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.optim.adam import adam

from mimar.core.optimisers import Rate
from mimar.core.ranges import Range, validate
from mimar.gradient.hypergradient import Explanation

Beta = Annotated[float, Range(0.0, 0.999999)]
MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # torch's names


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

    def keeps(self, alphas: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the moments at the start; decay is a term of the outer loss."""
        found: dict[str, Tensor] = {}
        for i, a in enumerate(alphas):
            zeros = torch.zeros_like(a, requires_grad=False)
            found |= {f"adam/{i}/exp_avg": zeros, f"adam/{i}/exp_avg_sq": zeros.clone()}
            found[f"adam/{i}/step"] = torch.zeros((), dtype=torch.float32)
        return found

    @torch.no_grad()
    def step(self, alphas: Sequence[Tensor], found: Explanation, held: dict[str, Tensor], steps: int) -> None:
        """Take one of `steps` outer steps along the gradients, in place."""
        averages, squares, counts = ([held[f"adam/{i}/{m}"] for i in range(len(alphas))] for m in MOMENTS)
        adam(
            list(alphas),
            [g.detach() for g in found.gradients],
            averages,
            squares,
            [],
            counts,
            foreach=False,
            amsgrad=False,
            beta1=self.beta1,
            beta2=self.beta2,
            lr=self.rate(steps),
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
