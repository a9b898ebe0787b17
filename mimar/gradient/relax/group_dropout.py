"""Softmax over options of which some are left out at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Fraction, NonNegative, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, drawn
from mimar.gradient.relax.sampling import completed
from mimar.gradient.relax.softmax import Softmax
from mimar.space import FREE, Choice, Space


@dataclass(frozen=True)
class GroupDropout:
    """Softmax over a random part of each choice's options, drawn anew at every step.

        p = softmax of α over the kept options, 0 elsewhere,    each dropped with probability rate^(1 / group's size)

    The options named in `free`, which have no weights, are one group, the others a second; of each group at least one
    stays (were all dropped, the one with the largest draw). Dropped options do not run. After an outer step their α
    are what they were, and those of the kept ones are shifted by one number so that the softmax over all options gives
    the dropped ones the probabilities that they had. Evaluation sees softmax(α).
    Raises ValueError without a stream to draw from.
    Source: DropNAS (Hong et al., 2020), equations 5 and 8; there a dropped option is known by a gradient of exactly
    zero, here by the draw itself.
    """

    rate: Fraction = 3e-5
    free: tuple[str, ...] = FREE
    scale: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return alphas near zero, scale · N(0, 1)."""
        return Softmax(scale=self.scale).init(space, rng)

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates on the simplex, dropped ones exactly 0 and inactive; choices of kind `some` stay open."""
        if not ctx.training:
            return Softmax().gates(alphas, ctx)
        found, kept = Gates(), self._kept(alphas, ctx)
        for name, alpha in alphas.items():
            keep = kept[name].to(alpha.device)
            found[name] = torch.softmax(alpha.masked_fill(~keep, -torch.inf), dim=-1)
            if not bool(keep.all()):
                found.only(name, tuple(keep.tolist()))
        return completed(found, alphas, ctx)

    def settle(self, alphas: dict[str, Tensor], before: Alphas, ctx: Context) -> None:
        """Restore the dropped alphas, and shift the kept ones so that the dropped probabilities stay.

        The published k = log(ρ / (1 − ρ) · Σ_dropped e^α / Σ_kept e^α), ρ the kept mass before the step, is the
        difference of the kept alphas' log-sum-exp before and after it.
        """
        for name, keep in self._kept(alphas, ctx).items():
            alpha, old = alphas[name], before[name]
            keep = keep.to(alpha.device)
            if not bool(keep.all()):
                shift = torch.logsumexp(old[keep], 0) - torch.logsumexp(alpha[keep], 0)
                alpha.copy_(torch.where(keep, alpha + shift, old))

    def _kept(self, alphas: Alphas, ctx: Context) -> dict[str, Tensor]:
        rng = drawn(ctx, self)
        return {name: self._draw(ctx.space[name], rng) for name in alphas}

    def _draw(self, choice: Choice, rng: torch.Generator) -> Tensor:
        free = torch.tensor([option in self.free for option in choice.options])
        uniform = torch.rand(len(free), generator=rng, dtype=torch.float64)
        keep = torch.ones_like(free)
        for group in (free, ~free):
            if size := int(group.sum()):
                most = uniform[group].max()
                keep[group] = uniform[group] >= torch.minimum(most, torch.tensor(self.rate ** (1 / size)))
        return keep
