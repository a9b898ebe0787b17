"""A price on architectures that cost more than they may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mimar.core.ranges import Fraction, NonNegative, Positive, validate
from mimar.gradient.hypergradient.tried import demand
from mimar.gradient.relax.parts import relaxed
from mimar.supernet import Gates


@dataclass(frozen=True)
class HingeCost:
    """The part of an architecture's cost beyond a target, for estimators that only evaluate it.

        cost = rate · min(1, progress / ramp) · max(0, C / target − 1)
        hard:  C = Σ over the choices that take part of the cost of their option        soft:  C = Σ_c Σ_o s_co · cost_co

    A choice takes part if an option that it stands in is chosen; the soft stand-in is linear and counts every choice. The
    network's fixed part is not in C. `unit`: the target is a multiple of the "mean" Σ_c mean_o cost_co, or "own" in
    parameters or MACs of one sample. `ramp`: the share of the search after which the price is full; 0 for all of it.
    Source: the latency loss of UNAS (Vahdat et al., 2020), where a surrogate is fitted to measured networks; here the
    options' own costs are the surrogate. Raises UsageError where the loss does not know what options cost.
    """

    target: Positive = 0.8
    rate: NonNegative = 1.0
    measure: Literal["params", "macs"] = "macs"
    unit: Literal["mean", "own"] = "mean"
    ramp: Fraction = 0.5
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def hard(self, gates: Gates, outer: Any) -> Tensor:
        """Return the price of the architecture of one-hot gates, a scalar; exact in float64."""
        costs, space = self._costs(outer), outer.space
        chosen: dict[str, set[Any]] = {}
        for choice in space.ordered:  # parents first
            taking_part = not choice.when or any(o in chosen.get(parent, ()) for parent, o in choice.when)
            if taking_part and choice.name in gates:
                values = gates[choice.name].tolist()
                chosen[choice.name] = {o for o, v in zip(choice.options, values, strict=True) if v > 0}
        total = torch.zeros((), dtype=torch.float64)
        for name, cost in costs.items():
            if name in chosen:
                total += sum(c for o, c in zip(space[name].options, cost.tolist(), strict=True) if o in chosen[name])
        return self._price(total, costs, outer)

    def soft(self, gates: Gates, outer: Any) -> Tensor:
        """Return the price of the linear cost under gates on the simplex, a scalar."""
        costs = self._costs(outer)
        total = sum(((gates[n] * c.to(gates[n])).sum() for n, c in costs.items()), start=torch.zeros(()))
        return self._price(total, costs, outer)

    def _costs(self, outer: Any) -> dict[str, Tensor]:
        found = demand(outer, self, "costs", "space").costs(self.measure)
        return {c.name: found[c.name] for c in relaxed(outer.space) if c.name in found}

    def _price(self, total: Tensor, costs: dict[str, Tensor], outer: Any) -> Tensor:
        target = self.target
        if self.unit == "mean":
            target *= sum(float(c.double().mean()) for c in costs.values())
        reached = min(1.0, outer.progress / self.ramp) if self.ramp else 1.0
        return self.rate * reached * torch.relu(total / max(target, 1e-30) - 1.0)
