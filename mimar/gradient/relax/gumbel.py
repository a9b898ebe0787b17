"""Soft samples whose temperature falls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, Positive, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, drawn
from mimar.gradient.relax.sampling import Curve, annealed, completed, gumbel, log_density, log_probability
from mimar.gradient.relax.softmax import Softmax
from mimar.space import Space


@dataclass(frozen=True)
class Gumbel:
    """A soft sample of the options of each choice, from the concrete distribution.

        z = softmax((α + G) / τ),    G Gumbel,    τ from `start` to `end` over the whole search

    The memo gets {choice: scalar} that depend on α but not through z: "density", the concrete log density at z, for
    score functions, and "logprob", log softmax(α) at the largest z, which Gumbel's theorem makes the probability of
    that argmax. Evaluation sees softmax(α). Raises ValueError without a stream to draw from.
    Source: SNAS (Xie et al., 2019), equation 5: τ from 1 to 0.03. There its horizon is 150 epochs, whatever the
    search's length; here the search itself.
    """

    start: Positive = 1.0
    end: Positive = 0.03
    curve: Curve = "linear"
    scale: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return alphas near zero, scale · N(0, 1)."""
        return Softmax(scale=self.scale).init(space, rng)

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates on the simplex; choices of kind `some` stay open."""
        if not ctx.training:
            return Softmax().gates(alphas, ctx)
        rng, found = drawn(ctx, self), Gates()
        tau = annealed(self.start, self.end, ctx.progress, self.curve)
        density, logprob = {}, {}
        for name, alpha in alphas.items():
            log_z = torch.log_softmax((alpha + gumbel(alpha, rng)) / tau, dim=-1)
            found[name] = torch.softmax(log_z, dim=-1)
            density[name] = log_density(log_z.detach(), alpha, tau)
            logprob[name] = log_probability(alpha, int(log_z.detach().argmax()))
        ctx.memo |= {"density": density, "logprob": logprob}
        return completed(found, alphas, ctx)
