"""Gates that are the alphas themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.streams import Rng, generator
from mimar.gradient.relax.parts import Alphas, Context, Gates, relaxed
from mimar.gradient.relax.sampling import completed
from mimar.space import Space


@dataclass(frozen=True)
class Box:
    """The alphas, clamped to the unit interval; what has once come to zero is out for good.

        p_o = clamp(α_o, 0, 1),    α = 1 / options + noise · N(0, 1) at the start

    Held: "dead/<choice>", (options,), 1 where an option is out: its gate is 0 and it does not run. After an outer step
    every α ≤ 0 is out and the others are brought back to at most 1, where the clamp still has its gradient. The
    strongest option stays; were all at zero, with its α of before the step.
    Source: DARTS-PRIME (Maile et al., 2021), competition-free activation; the projection from above is ours: there an
    α above 1 gets no gradient any more.
    """

    noise: NonNegative = 1e-4
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return alphas near 1 / options, drawn from `rng` in the order of the space."""
        rng, sizes = generator(rng), {c.name: len(c.options) for c in relaxed(space)}
        return {name: 1 / n + self.noise * torch.randn(n, generator=rng) for name, n in sizes.items()}

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates between 0 and 1; choices of kind `some` stay open."""
        found = Gates()
        for name, alpha in alphas.items():
            found[name], dead = alpha.clamp(0.0, 1.0), ctx.held.get(f"dead/{name}")
            if dead is not None and bool(dead.any()):
                found[name] = found[name] * (1 - dead.to(alpha))
                found.only(name, tuple(not gone for gone in dead.tolist()))
        return completed(found, alphas, ctx)

    def keeps(self, space: Space) -> dict[str, Tensor]:
        """Return the masks of what is out: nothing."""
        return {f"dead/{c.name}": torch.zeros(len(c.options)) for c in relaxed(space)}

    def settle(self, alphas: dict[str, Tensor], before: Alphas, ctx: Context) -> None:
        """Put out what has come to zero, and bring the alphas back into the box."""
        for name, alpha in alphas.items():
            dead = ctx.held[f"dead/{name}"]
            out = dead.bool().to(alpha.device)
            best = alpha.masked_fill(out, -torch.inf).argmax()
            if alpha[best] <= 0:
                best = before[name].masked_fill(out, -torch.inf).argmax()
                alpha[best] = before[name][best]
            out |= alpha <= 0
            dead.copy_(out)
            alpha.clamp_(0.0, 1.0).masked_fill_(out, 0.0)
