"""Gates for the edges into a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.streams import Rng, generator
from mimar.gradient.relax.parts import Alphas, Context, Gates, Relaxation, keeps, settle
from mimar.space import Space


@dataclass(frozen=True)
class EdgeSoftmax:
    """The gates of another relaxation, and a softmax over the candidates of every choice of kind `some`.

        q_i = exp(β_i) / Σ_i' exp(β_i'),    β ~ scale · N(0, 1) at the start

    The betas are alphas under the names of these choices; the other relaxation does not see them. At β = 0 the sum
    over a node's edges is their mean. A space without such choices (NAS-Bench-201) gets none.
    Source: PC-DARTS (Xu et al., 2020), edge normalisation, equation 3.
    """

    inside: Relaxation
    scale: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return the other relaxation's alphas, then the betas."""
        rng = generator(rng)
        found = self.inside.init(space, rng)
        some = {c.name: len(c.options) for c in space.choices if c.kind == "some"}
        return found | {name: self.scale * torch.randn(n, generator=rng) for name, n in some.items()}

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return the other relaxation's gates, those of kind `some` on the simplex."""
        found = self.inside.gates(_others(alphas, ctx), ctx)
        own = {name: a for name, a in alphas.items() if ctx.space[name].kind == "some"}
        return Gates() | found | {name: torch.softmax(a, dim=-1) for name, a in own.items()}

    def keeps(self, space: Space) -> dict[str, Tensor]:
        """Return what the other relaxation keeps."""
        return keeps(self.inside, space)

    def settle(self, alphas: dict[str, Tensor], before: Alphas, ctx: Context) -> None:
        """Let the other relaxation follow up an outer step."""
        settle(self.inside, _others(alphas, ctx), _others(before, ctx), ctx)


def _others(alphas: Alphas, ctx: Context) -> dict[str, Tensor]:
    return {name: a for name, a in alphas.items() if ctx.space[name].kind != "some"}
