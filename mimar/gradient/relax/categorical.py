"""One sampled option a choice, without a gradient through the sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, drawn
from mimar.gradient.relax.sampling import completed, gumbel, log_probability, only_one
from mimar.gradient.relax.softmax import Softmax
from mimar.space import Space


@dataclass(frozen=True)
class Categorical:
    """One option of each choice, drawn from softmax(α); only it is executed, and its gate is a constant 1.

    Alphas learn from the memo's "logprob", {choice: log softmax(α) of the drawn option}, or by an update that wants no
    gradient. Evaluation sees softmax(α). Raises ValueError without a stream to draw from.
    Source: the agents of MANAS (Lopes et al., 2019) and the discrete sample of UNAS (Vahdat et al., 2020).
    """

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
        for name, alpha in alphas.items():
            found[name] = alpha.detach()
            option = int((found[name] + gumbel(alpha, rng)).argmax())
            found[name] = only_one(found, name, option)
            logprob[name] = log_probability(alpha, option)
        ctx.memo["logprob"] = logprob
        return completed(found, alphas, ctx)
