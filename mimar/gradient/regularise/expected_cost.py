"""The expected cost of the architectures that the gates stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.trees import Tensors
from mimar.gradient.regularise.parts import Scope, View, seen


@dataclass(frozen=True)
class ExpectedCost:
    """The expected cost of what is chosen, or its logarithm.

        rate · log E  (log) or  rate · E,    E = Σ_c q_c Σ_o p_co · cost_co

    p: gates; cost: parameters or MACs of an option's own, summed over all modules of the choice; q: how far the choice
    takes part, the gate of the option in which it stands (its mean over several such options; 1 outside of options).
    The fixed part of the network is not in E. E below 1 counts as 1 in the logarithm. Raises UsageError without a view.
    Source: SNAS (Xie et al., 2019), where λ is 1.5e-3 on the logarithm, in the one loss of all parameters.
    """

    rate: NonNegative = 1.5e-3
    measure: Literal["params", "macs"] = "params"
    log: bool = True
    scope: Scope = "inner"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        cost = self.cost(seen(view, self))
        return self.rate * (cost.clamp_min(1.0).log() if self.log else cost)

    def cost(self, view: View) -> Tensor:
        """Return E."""
        costs, gates = view.costs(self.measure), view.gates
        total, part = view.loss.new_zeros(()), dict[str, Tensor]()
        for choice in view.space.ordered:  # parents first
            if choice.name not in gates:
                continue
            ways = [part[p] * gates[p][view.space[p].options.index(o)] for p, o in choice.when if p in gates]
            part[choice.name] = torch.stack(ways).mean() if ways else torch.ones_like(total)
            if choice.name in costs:
                gate = gates[choice.name]
                total = total + part[choice.name] * (gate * costs[choice.name].to(gate)).sum()
        return total
