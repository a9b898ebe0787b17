"""The worst gates nearby while the weights learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Count, Fraction, validate
from mimar.core.streams import Rng
from mimar.gradient.relax.parts import Alphas, Context, Gates, Relaxation, keeps, relaxed, settle
from mimar.gradient.relax.sampling import annealed
from mimar.space import Space
from mimar.supernet.gates import active_of

Box = Mapping[str, tuple[Tensor, Tensor]]  # {choice: (lowest, highest gates)}


@dataclass(frozen=True)
class Adversarial:
    """The gates of another relaxation, moved to where the weights' loss of the batch is largest nearby.

        p' = p + stop(δ),    δ ≈ argmax L1(p + δ),  ‖δ‖∞ ≤ ε,  0 ≤ p' ≤ 1,    ε from `start` to `radius`, linearly

    By `steps` signed gradient steps of 2ε / steps from p, each clipped to the box; of all places visited the worst, so
    that L1(p') ≥ L1(p). Inner problem only; options that do not run are not moved. Costs `steps` passes forth and back
    and one forth more. The identity with radius=0 (and start is never more than the radius).
    Raises ValueError where the context has no loss.
    Source: SDARTS-ADV (Chen, Hsieh, 2020), equation 5: ε 0.03 to 0.3, seven steps. There the ascent starts at a random
    place in the box and ends with the last one, or p if that is no worse, under running statistics; ε grows once an epoch.
    """

    inside: Relaxation
    radius: Fraction = 0.3
    start: Fraction = 0.03
    steps: Count = 7
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return the other relaxation's alphas."""
        return self.inside.init(space, rng)

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return gates between 0 and 1, off the simplex."""
        found = Gates() | self.inside.gates(alphas, ctx)
        if not (ctx.training and ctx.scope == "inner" and self.radius):
            return found
        if ctx.loss is None:
            raise ValueError("Adversarial needs the loss of the batch in its context: Context(space, loss=...)")
        width = annealed(min(self.start, self.radius), self.radius, ctx.progress)
        names = [c.name for c in relaxed(ctx.space)]
        worst = self._worst(ctx.loss, Gates({n: g.detach() for n, g in found.items()}, found.active), names, width)
        for name in names:
            found[name] = worst[name] + (found[name] - found[name].detach())  # exactly the worst, with p's gradient
        return found

    def _worst(
        self, loss: Callable[[Mapping[str, Tensor]], Tensor], gates: Gates, names: list[str], width: float
    ) -> dict[str, Tensor]:
        box = {name: _box(gates, name, width) for name in names}
        here = worst = {name: gates[name] for name in names}
        most = -torch.inf
        for step in range(self.steps + 1):
            with torch.set_grad_enabled(step < self.steps):  # of the last place only the value is asked
                leaves = {name: p.clone().requires_grad_() for name, p in here.items()}
                value = loss(gates | leaves)
            if value.item() > most:
                most, worst = value.item(), here
            if step < self.steps:
                slopes = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
                pairs = zip(names, slopes, strict=True)
                here = {n: (here[n] + 2 * width / self.steps * s.sign()).clamp(*box[n]) for n, s in pairs}
        return worst

    def keeps(self, space: Space) -> dict[str, Tensor]:
        """Return what the other relaxation keeps."""
        return keeps(self.inside, space)

    def settle(self, alphas: dict[str, Tensor], before: Alphas, ctx: Context) -> None:
        """Let the other relaxation follow up an outer step."""
        settle(self.inside, alphas, before, ctx)


def _box(gates: Gates, name: str, width: float) -> tuple[Tensor, Tensor]:
    gate, active = gates[name], active_of(gates, name)
    moved = width * torch.ones_like(gate) if active is None else width * torch.tensor(active).to(gate)
    return (gate - moved).clamp_min(0.0), (gate + moved).clamp_max(1.0)
