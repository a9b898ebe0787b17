"""Mixtures drawn from a Dirichlet distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, drawn
from mimar.gradient.relax.sampling import completed
from mimar.gradient.relax.softmax import Softmax
from mimar.space import Space


@dataclass(frozen=True)
class Dirichlet:
    """A mixture drawn from the Dirichlet distribution with concentration elu(α) + 1, with its pathwise gradient.

        p = softmax(log g),    log g_o = log Γ-sample(c_o + 1) + log U_o / c_o,    c = elu(α) + 1

    Evaluation sees the mean, c / Σ c. Drawn as logarithms of gamma samples, so that small concentrations do not round
    to 0 / 0. Differentiable once in α while training: torch has no second derivative of a gamma sample.
    Raises ValueError without a stream to draw from.
    Source: DrNAS (Chen et al., 2021), section 3.1; its distance to the uniform Dirichlet is a term of its own.
    """

    scale: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return alphas near zero, scale · N(0, 1): concentrations near 1, the uniform distribution."""
        return Softmax(scale=self.scale).init(space, rng)

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates on the simplex; choices of kind `some` stay open."""
        weights = {name: concentration(a) for name, a in alphas.items()}
        if ctx.training:
            rng = drawn(ctx, self)
            found = Gates({name: _sample(c, rng) for name, c in weights.items()})
        else:
            found = Gates({name: c / c.sum() for name, c in weights.items()})
        return completed(found, alphas, ctx)


def concentration(alpha: Tensor) -> Tensor:
    """Return elu(α) + 1, written so that it stays above 0 where the sum would round to it."""
    return torch.where(alpha > 0, alpha + 1, alpha.clamp(-60.0, 0.0).exp())


def _sample(c: Tensor, rng: torch.Generator) -> Tensor:
    here = c.to("cpu", torch.float64)  # torch's gamma samples take this stream on the processor only
    uniform = torch.rand(here.shape, generator=rng, dtype=torch.float64).clamp_min(1e-300)
    log_g = torch._standard_gamma(here + 1, generator=rng).log() + uniform.log() / here
    return torch.softmax(log_g, dim=-1).to(c)
