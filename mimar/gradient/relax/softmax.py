"""The continuous relaxation of DARTS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Range, validate
from mimar.core.streams import Rng, generator
from mimar.gradient.relax.parts import Alphas, Context, Gates, open_gates, relaxed
from mimar.space import Space


@dataclass(frozen=True)
class Softmax:
    """Softmax over the options of each choice.

        p_o = exp(α_o / τ) / Σ_o' exp(α_o' / τ),    α ~ scale · N(0, 1) at the start

    Source: DARTS (Liu, Simonyan, Yang, 2019), equation 2; τ = `temperature` is 1 there, `scale` 1e-3.
    """

    temperature: Annotated[float, Range(0.0, None, open_low=True)] = 1.0
    scale: Annotated[float, Range(0.0, None)] = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return alphas near zero, drawn from `rng` in the order of the space."""
        rng = generator(rng)
        return {c.name: self.scale * torch.randn(len(c.options), generator=rng) for c in relaxed(space)}

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates on the simplex; choices of kind `some` stay open."""
        found = Gates({name: torch.softmax(a / self.temperature, dim=-1) for name, a in alphas.items()})
        like = next(iter(alphas.values()), torch.zeros(()))
        return found | open_gates(ctx.space, like)
