"""One sampled option a choice, with the gradient of a soft sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, Positive, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, drawn
from mimar.gradient.relax.sampling import Curve, annealed, completed, gumbel, log_probability, only_one
from mimar.gradient.relax.softmax import Softmax
from mimar.space import Space


@dataclass(frozen=True)
class GumbelHard:
    """One option of each choice, drawn from softmax(α); only it is executed.

        y = softmax((log softmax(α) + G) / τ),    h = onehot(argmax y) · (1 + (y − stop(y))),    τ from `start` to `end`

    The network sees h, exactly 1 at the drawn option and 0 elsewhere, so its output is that of the single path; α gets
    ∂L/∂h of the drawn option through the softmax of y. The memo gets "logprob": {choice: log softmax(α) of the drawn
    option}. Evaluation sees softmax(α). Raises ValueError without a stream to draw from.
    Source: GDAS (Dong, Yang, 2019), equations 3 to 5: τ from 10 to 0.1. Its NAS-Bench-201 code adds the other gates,
    zeros, to the feature map, which gives them a gradient that belongs to no option; here they have none.
    """

    start: Positive = 10.0
    end: Positive = 0.1
    curve: Curve = "linear"
    scale: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return alphas near zero, scale · N(0, 1)."""
        return Softmax(scale=self.scale).init(space, rng)

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return one-hot gates, the drawn option alone active; choices of kind `some` stay open."""
        if not ctx.training:
            return Softmax().gates(alphas, ctx)
        rng, found, logprob = drawn(ctx, self), Gates(), {}
        tau = annealed(self.start, self.end, ctx.progress, self.curve)
        for name, alpha in alphas.items():
            noisy = torch.log_softmax(alpha, dim=-1) + gumbel(alpha, rng)
            option = int(noisy.detach().argmax())
            soft = found[name] = torch.softmax(noisy / tau, dim=-1)
            slope = soft - soft.detach()  # exactly 0; 1 + soft - soft in another order would round
            found[name] = only_one(found, name, option) * (1 + slope)
            logprob[name] = log_probability(alpha, option)
        ctx.memo["logprob"] = logprob
        return completed(found, alphas, ctx)
