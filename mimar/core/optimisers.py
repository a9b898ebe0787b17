"""The optimiser of weights and the curve of its learning rate, as values; the arithmetic is torch.optim's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Range, validate

Rate = Annotated[float, Range(0.0, None, open_low=True)]


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum; gradients are clipped to the global norm `clip` (0: not).

    `decay` is for retraining only: in a bilevel search weight decay is a term of the inner loss, so that Hessians see it.
    """

    lr: Rate = 0.025
    momentum: Annotated[float, Range(0.0, 1.0)] = 0.9
    nesterov: bool = False
    clip: Annotated[float, Range(0.0, None)] = 5.0
    decay: Annotated[float, Range(0.0, None)] = 0.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def optimiser(self, weights: Sequence[Tensor]) -> torch.optim.SGD:
        """Return torch's optimiser over `weights`."""
        return torch.optim.SGD(
            list(weights), lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.decay
        )

    def step(self, optimiser: torch.optim.Optimizer, grads: Sequence[Tensor | None], lr: float) -> float:
        """Take one step along `grads` at rate `lr`; return the norm of the gradients before clipping."""
        return descend(optimiser, grads, lr, self.clip)


def descend(optimiser: torch.optim.Optimizer, grads: Sequence[Tensor | None], lr: float, clip: float = 0.0) -> float:
    """Take one step of a torch optimiser along `grads`, leaving `.grad` as it was; return the gradients' norm.

    A weight without a gradient (None) rests: neither it nor its momentum moves.
    """
    weights = [p for group in optimiser.param_groups for p in group["params"]]
    before = [w.grad for w in weights]
    for w, g in zip(weights, grads, strict=True):
        w.grad = None if g is None else g.detach()
    given = [w.grad for w in weights if w.grad is not None]
    total = torch.nn.utils.get_total_norm(given) if given else torch.zeros(())
    if clip:
        torch.nn.utils.clip_grads_with_norm_(weights, clip, total)
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.step()
    for w, g in zip(weights, before, strict=True):
        w.grad = g
    return float(total)


def cosine(progress: float, top: float, floor: float = 0.0) -> float:
    """Return floor + (top − floor) · ½ (1 + cos π·progress), progress from 0 to 1."""
    return floor + (top - floor) * 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def cosine_power(progress: float, top: float, floor: float = 0.0, power: float = 2.0) -> float:
    """Return floor + (top − floor) · (q^(c+1) − q) / (q² − q), c = ½ (1 + cos π·progress), q = `power`; q = 1 is `cosine`.

    Falls earlier and flattens later the larger q is. Source: Hundt, Jain, Hager, "sharpDARTS", 2019.
    """
    if power == 1.0:
        return cosine(progress, top, floor)
    # the quotient is (q^c − 1) / (q − 1), here without cancellation near q = 1
    share = math.expm1(cosine(progress, 1.0) * math.log(power)) / math.expm1(math.log(power))
    return floor * (1.0 - share) + top * share
