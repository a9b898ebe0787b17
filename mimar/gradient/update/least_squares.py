"""Alphas from a linear model of the reward, fitted to all architectures seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Positive, Range, validate
from mimar.core.trees import unflat
from mimar.gradient.hypergradient import Explanation
from mimar.gradient.update.picks import picks

Decay = Annotated[float, Range(0.0, 0.999999)]


@dataclass(frozen=True)
class LeastSquares:
    """The alphas are the estimated rewards of options, ever more pronounced.

        B = (XᵀX + λ I)⁻¹ Xᵀ(r − r̄),    α = B / (s · τ_t),    τ_t = max(end, start / √t)

    X: one-hot rows of the t architectures so far; r = m − loss, m the running mean of the losses before with decay
    `trend`, so that the weights' progress is no option's merit (None: m = 0, for losses that do not fall by themselves);
    r̄ its mean; λ = `ridge`; s: root mean square of B, each choice centred, which makes τ free of the losses' scale. Only
    the sums XᵀX, Xᵀr are kept. Exploration ends as t grows: softmax(α) is what is sampled next.
    Raises UsageError without samples. Source: MANAS-LS (Lopes et al., 2019), as recalled: least squares, softmax of B,
    decaying exploration. Differs: m, s and this law of τ.
    """

    ridge: Positive = 1.0
    start: Positive = 8.0
    end: Positive = 0.05
    trend: Decay | None = 0.9
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def keeps(self, alphas: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the sums at the start, in float64: D × D and D for D options in all."""
        size, device = sum(a.numel() for a in alphas), alphas[0].device
        found = {
            "xx": torch.zeros(size, size, dtype=torch.float64, device=device),
            "xr": torch.zeros(size, dtype=torch.float64, device=device),
        }
        found |= {name: torch.zeros((), dtype=torch.float64) for name in ("count", "rewards", "mean")}
        return {f"least squares/{name}": value for name, value in found.items()}

    @torch.no_grad()
    def step(self, alphas: Sequence[Tensor], found: Explanation, held: dict[str, Tensor], steps: int) -> None:
        """Take a step, in place in `alphas` and in `held`; the number of steps to come does not matter."""
        xx, xr, count, rewards = (held[f"least squares/{name}"] for name in ("xx", "xr", "count", "rewards"))
        first = [sum(a.numel() for a in alphas[:i]) for i in range(len(alphas))]
        for options, loss in picks(found, self):
            reward = self._reward(loss, held)
            at = torch.tensor([f + o for f, o in zip(first, options, strict=True)], device=xx.device)
            xx[at[:, None], at] += 1.0
            xr[at] += reward
            rewards += reward
            count += 1
        mean = float(rewards / count)
        solved = torch.linalg.solve(xx + self.ridge * torch.eye(len(xx)).to(xx), xr - mean * xx.diagonal())
        parts = [b - b.mean() for b in unflat(solved, alphas)]
        spread = math.sqrt(float(torch.cat(parts).square().mean()))
        temperature = max(self.end, self.start / math.sqrt(float(count)))
        for alpha, part in zip(alphas, parts, strict=True):
            alpha.copy_(part / (spread * temperature) if spread > 0 else part)

    def _reward(self, loss: float, held: dict[str, Tensor]) -> float:
        """Return the reward of a loss, and follow the mean of the losses."""
        if self.trend is None:
            return -loss
        mean = held["least squares/mean"]
        if float(held["least squares/count"]) == 0:
            mean.fill_(loss)
        reward = float(mean) - loss
        mean.lerp_(torch.full_like(mean, loss), 1.0 - self.trend)
        return reward
