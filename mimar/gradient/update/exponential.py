"""Alphas as the log-weights of adversarial bandits, one agent a choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Positive, validate
from mimar.gradient.hypergradient import Explanation
from mimar.gradient.update.picks import picks


@dataclass(frozen=True)
class ExponentialWeights:
    """Exponential weights on importance-weighted losses: every choice is a bandit, and all get the same loss.

        Ĉ_co ← Ĉ_co + ℓ / π_co  for the sampled options,    π = softmax(α),    α_c = −η Ĉ_c, its largest entry 0

    with ℓ = (loss − low) / (high − low) in [0, 1], low and high the least and the largest loss so far. Ĉ is kept as Σ
    loss/π and Σ 1/π, so that a new range rescales what is past too. Until two losses differ the alphas stay. E ℓ/π over the
    draw is ℓ for every option. η: `rate`, or √(ln n / (n T)) for n options and T outer steps, for a regret of O(√(T n ln n)).
    The samples must be drawn from softmax(α). Raises UsageError without samples.
    Source: Exp3 (Auer et al., 2002); MANAS (Lopes et al., 2019), as recalled. Differs: a range that is found on the way.
    """

    rate: Positive | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def keeps(self, alphas: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the sums and the range at the start, in float64."""
        found = {
            f"exponential/{x}": torch.tensor(v, dtype=torch.float64) for x, v in (("low", 1e300), ("high", -1e300))
        }
        for i, a in enumerate(alphas):
            zeros = torch.zeros_like(a, requires_grad=False, dtype=torch.float64)
            found |= {f"exponential/{i}/losses": zeros, f"exponential/{i}/draws": zeros.clone()}
        return found

    @torch.no_grad()
    def step(self, alphas: Sequence[Tensor], found: Explanation, held: dict[str, Tensor], steps: int) -> None:
        """Take one of `steps` outer steps, in place in `alphas` and in `held`."""
        low, high = held["exponential/low"], held["exponential/high"]
        chances = [torch.softmax(a.double(), 0).tolist() for a in alphas]
        for options, loss in picks(found, self):
            low.clamp_(max=loss)
            high.clamp_(min=loss)
            for i, option in enumerate(options):
                held[f"exponential/{i}/losses"][option] += loss / chances[i][option]
                held[f"exponential/{i}/draws"][option] += 1.0 / chances[i][option]
        least, width = float(low), float(high - low)
        if width == 0.0:
            return
        for i, alpha in enumerate(alphas):
            total = (held[f"exponential/{i}/losses"] - least * held[f"exponential/{i}/draws"]) / width
            n = len(alpha)
            rate = self.rate or math.sqrt(math.log(n) / (n * max(steps, 1)))
            alpha.copy_(rate * (total.min() - total))
