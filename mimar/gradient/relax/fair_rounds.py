"""Options taken in turn, each once a round, until enough of them are out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.streams import Rng, stream
from mimar.gradient.relax.parts import Alphas, Context, Gates, drawn, relaxed
from mimar.gradient.relax.sampling import completed, only_one
from mimar.gradient.relax.softmax import Softmax
from mimar.space import Space


@dataclass(frozen=True)
class FairRounds:
    """One option of each choice at a time, sampled without replacement; later the softmax over what is left.

    A round of a choice uses each of its alive options once, in random order: one for every outer step and the weight
    steps since the last one, so that an option is judged right after it has learnt. Only it runs, under a constant 1.

    Held, per choice, (options,): "alive/<choice>", 1 where an option is still a candidate; "uses/<choice>", how many
    outer steps have used it; "turn/<choice>", its turn in this round's order; "were/<choice>", which were alive before the last outer step. Held scalars: "round", the rounds that
    every choice has finished: then every alive option has been used at least so often, and exactly so often where all
    choices have as many alive; "reduced", 0 while options are sampled, 1 once the gates are the softmax over the alive
    ones. An outer update shrinks "alive/<choice>" (one option must stay) and sets "reduced"; this part only counts.
    Evaluation sees the softmax over the alive options.
    The first order is the same for every seed: the stream of an outer step draws the next one. Raises ValueError there
    without a stream, and without what is held. Source: BNAS (Chen et al., 2020), fair sampling and reduction of the operation space, as recalled.
    """

    scale: NonNegative = 1e-3
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return alphas near zero, scale · N(0, 1)."""
        return Softmax(scale=self.scale).init(space, rng)

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates on the simplex, one-hot while options are sampled; choices of kind `some` stay open."""
        found = Gates()
        for name, alpha in alphas.items():
            if ctx.training and not bool(_of(ctx, "reduced")):
                found[name] = alpha.detach()
                found[name] = only_one(found, name, _next(ctx, name))
                continue
            alive = _of(ctx, f"alive/{name}").to(alpha.device) > 0
            found[name] = torch.softmax(alpha.masked_fill(~alive, -torch.inf), dim=-1)
            if not bool(alive.all()):
                found.only(name, tuple(alive.tolist()))
        return completed(found, alphas, ctx)

    def keeps(self, space: Space) -> dict[str, Tensor]:
        """Return what the class names: all alive, nothing used, one order."""
        held = {"round": torch.zeros(()), "reduced": torch.zeros(())}
        for choice in relaxed(space):
            n = len(choice.options)
            order = torch.randperm(n, generator=stream(0, "turn", choice.name)).float()
            held |= {f"alive/{choice.name}": torch.ones(n), f"uses/{choice.name}": torch.zeros(n)}
            held |= {f"turn/{choice.name}": order, f"were/{choice.name}": torch.ones(n)}
        return held

    def settle(self, alphas: dict[str, Tensor], before: Alphas, ctx: Context) -> None:
        """Count the options of this step, and draw new orders where rounds are full."""
        if bool(_of(ctx, "reduced")):
            return
        rng, least = drawn(ctx, self), []
        for name in alphas:
            uses, alive = _of(ctx, f"uses/{name}"), _of(ctx, f"alive/{name}") > 0
            fresh = torch.randperm(len(uses), generator=rng)  # drawn each time, so that streams stay aligned
            uses[_next(ctx, name, "were")] += 1  # the update may just have abandoned what this step has used
            _of(ctx, f"were/{name}").copy_(alive)
            left = uses[alive]
            least.append(float(left.min()))
            if bool((left == left[0]).all()):
                _of(ctx, f"turn/{name}").copy_(fresh)
        _of(ctx, "round").fill_(min(least, default=0.0))


def _next(ctx: Context, choice: str, mask: str = "alive") -> int:
    """Return the option whose turn it is: of the alive ones used least often, the first in order."""
    uses, alive = _of(ctx, f"uses/{choice}"), _of(ctx, f"{mask}/{choice}") > 0
    due = alive & (uses == uses[alive].min())
    return int(_of(ctx, f"turn/{choice}").masked_fill(~due, torch.inf).argmin())


def _of(ctx: Context, name: str) -> Tensor:
    if name not in ctx.held:
        raise ValueError("FairRounds needs what it keeps in its context: Context(space, held=keeps(part, space))")
    return ctx.held[name]
