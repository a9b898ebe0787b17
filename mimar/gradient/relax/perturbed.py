"""Noise on the gates while the weights learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch

from mimar.core.ranges import Range, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, Relaxation, drawn, keeps, relaxed, settle
from mimar.space import Space


@dataclass(frozen=True)
class Perturbed:
    """The gates of another relaxation, with uniform noise in the inner problem.

        p' = clip(p + ε · U(−1, 1), 0, 1),    ε from `start` at the beginning to `radius` at the end, linearly

    Weights that do well on a whole neighbourhood of gates make the validation loss flat in them. Alpha steps and
    evaluation see p itself. The identity with radius=0 (and start is never more than the radius).
    Source: SDARTS-RS (Chen, Hsieh, 2020), equation 4: ε 0.03 to 0.3. There ε grows once an epoch, here at every step.
    """

    inside: Relaxation
    radius: Annotated[float, Range(0.0, 1.0)] = 0.3
    start: Annotated[float, Range(0.0, 1.0)] = 0.03
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, torch.Tensor]:
        """Return the other relaxation's alphas."""
        return self.inside.init(space, rng)

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates between 0 and 1, off the simplex by the noise; raises ValueError without a stream to draw from."""
        found = self.inside.gates(alphas, ctx)
        if not (ctx.training and ctx.scope == "inner" and self.radius):
            return found
        rng = drawn(ctx, self)
        start = min(self.start, self.radius)
        width = start + (self.radius - start) * ctx.progress
        for choice in relaxed(ctx.space):
            gate = found[choice.name]
            noise = torch.rand(gate.shape, generator=rng).to(gate)
            found[choice.name] = (gate + width * (2 * noise - 1)).clamp(0.0, 1.0)
        return found

    def keeps(self, space: Space) -> dict[str, torch.Tensor]:
        """Return what the other relaxation keeps."""
        return keeps(self.inside, space)

    def settle(self, alphas: dict[str, torch.Tensor], before: Alphas, ctx: Context) -> None:
        """Let the other relaxation follow up an outer step."""
        settle(self.inside, alphas, before, ctx)
