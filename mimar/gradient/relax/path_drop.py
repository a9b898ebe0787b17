"""Options that are left out while the weights learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Fraction, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, Relaxation, drawn, keeps, relaxed, settle
from mimar.space import Choice, Space
from mimar.supernet.gates import active_of


@dataclass(frozen=True)
class PathDrop:
    """The gates of another relaxation, whole options dropped at random in the inner problem.

        p'_o = p_o / P(kept) with probability 1 − r, else 0,    r = rate · progress

    Dropped options do not run; kept ones are scaled so that every gate keeps its expectation. Options named in `spare`
    are never dropped; where nothing else is left, the option with the largest draw stays, which P(kept) counts in.
    Alpha steps and evaluation see p itself. The identity with rate=0. Raises ValueError without a stream to draw from.
    Source: RobustDARTS (Zela et al., 2020), drop path in the search, linearly ramped. There every image of a batch has
    its own draws for every option but the identity; here a batch has one, so that what is dropped is not computed.
    """

    inside: Relaxation
    rate: Fraction = 0.2
    spare: tuple[str, ...] = ("skip_connect", "skip", "identity")
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return the other relaxation's alphas."""
        return self.inside.init(space, rng)

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates off the simplex by the drops."""
        found, rate = Gates() | self.inside.gates(alphas, ctx), self.rate * ctx.progress
        if not (ctx.training and ctx.scope == "inner" and rate):
            return found
        rng = drawn(ctx, self)
        for choice in relaxed(ctx.space):
            gate = found[choice.name]
            active = active_of(found, choice.name) or (True,) * len(gate)
            factors = self._factors(choice, torch.tensor(active), rate, rng)
            found[choice.name] = gate * factors.to(gate)
            if not bool(factors.all()):
                found.only(choice.name, tuple(factor > 0 for factor in factors.tolist()))
        return found

    def _factors(self, choice: Choice, active: Tensor, rate: float, rng: torch.Generator) -> Tensor:
        """Return 0 for what is dropped, and what the others are multiplied by."""
        uniform = torch.rand(len(active), generator=rng, dtype=torch.float64)
        spare = torch.tensor([option in self.spare for option in choice.options])
        loose = active & ~spare
        count, fixed = int(loose.sum()), bool((active & spare).any())
        keep = ~loose | (uniform >= rate)
        if not fixed and not bool((keep & active).any()):
            keep[uniform.masked_fill(~loose, -1.0).argmax()] = True
        chance = 1 - rate if fixed else 1 - rate + rate**count / max(count, 1)
        return torch.where(loose, keep / max(chance, 1e-12), 1.0)

    def keeps(self, space: Space) -> dict[str, Tensor]:
        """Return what the other relaxation keeps."""
        return keeps(self.inside, space)

    def settle(self, alphas: dict[str, Tensor], before: Alphas, ctx: Context) -> None:
        """Let the other relaxation follow up an outer step."""
        settle(self.inside, alphas, before, ctx)
