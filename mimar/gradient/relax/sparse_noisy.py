"""A cold softmax that noise keeps differentiable, thinned out, its temperature steered by the entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Fraction, NonNegative, Positive, Range, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, drawn, entropy
from mimar.gradient.relax.sampling import annealed, completed, gumbel
from mimar.gradient.relax.softmax import Softmax
from mimar.space import Space


@dataclass(frozen=True)
class SparseNoisy:
    """Softmax at a small temperature, under noise that is drawn anew at every step, without its small gates.

        p = softmax((α + noise · G) / τ),  p_o < threshold dropped,  p / Σ p,    τ = s · start · (end / start)^progress

    A cold softmax has no gradient; the noise brings options close together now and then, so that its expectation has
    one. The largest gate always stays; dropped options do not run; where one stays alone its gate is 1 and has no
    gradient. After every outer step s, held as "tau", is multiplied by exp(gain · (aim − H)): H is the mean entropy of
    softmax(α / τ), each divided by log(options), and `aim` goes from `wide` to `narrow` linearly; s stays between
    1 / limit and `limit`. gain=0 leaves the exponential schedule alone. Evaluation sees softmax(α / τ).
    Raises ValueError without a stream to draw from.
    Source: Zhang, Ding, "small temperature", PAKDD 2023, as recalled: its exact formulas are not known here; the noise,
    threshold, aims, gain and limit are ours.
    """

    start: Positive = 1.0
    end: Positive = 0.01
    noise: NonNegative = 1.0
    threshold: Fraction = 0.01
    wide: Fraction = 1.0
    narrow: Fraction = 0.1
    gain: NonNegative = 0.3
    limit: Annotated[float, Range(1.0)] = 100.0
    scale: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return alphas near zero, scale · N(0, 1)."""
        return Softmax(scale=self.scale).init(space, rng)

    def temperature_at(self, ctx: Context) -> float:
        """Return the present τ."""
        held = ctx.held.get("tau")
        return annealed(self.start, self.end, ctx.progress, "exponential") * (1.0 if held is None else float(held))

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates on the simplex, small ones exactly 0 and inactive; choices of kind `some` stay open."""
        tau = self.temperature_at(ctx)
        if not ctx.training:
            return Softmax(temperature=tau).gates(alphas, ctx)
        rng, found = drawn(ctx, self), Gates()
        for name, alpha in alphas.items():
            p = found[name] = torch.softmax((alpha + self.noise * gumbel(alpha, rng)) / tau, dim=-1)
            keep = p.detach() >= min(self.threshold, float(p.detach().max()))
            if not bool(keep.all()):
                left = torch.where(keep, p, 0.0)
                found[name] = left / left.sum()
                found.only(name, tuple(keep.tolist()))
        return completed(found, alphas, ctx)

    def judged(self, alphas: Alphas, space: Space) -> Gates:
        """Return softmax(α), by which a search is judged to have moved: the temperature falls by itself."""
        return Softmax().gates(alphas, Context(space, training=False))

    def keeps(self, space: Space) -> dict[str, Tensor]:
        """Return the factor of the temperature, "tau": 1."""
        return {"tau": torch.ones(())}

    def settle(self, alphas: dict[str, Tensor], before: Alphas, ctx: Context) -> None:
        """Move the factor so that the entropy follows its aim."""
        found = entropy(self.gates(alphas, replace(ctx, training=False)), ctx.space)
        aim = annealed(self.wide, self.narrow, ctx.progress)
        ctx.held["tau"].mul_(math.exp(self.gain * (aim - found))).clamp_(1 / self.limit, self.limit)
