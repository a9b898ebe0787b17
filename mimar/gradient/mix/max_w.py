"""A mixture in which the leading option counts in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from mimar.core.ranges import validate
from mimar.gradient.relax.parts import relaxed
from mimar.space import Space
from mimar.supernet import Gates
from mimar.supernet.gates import active_of


@dataclass(frozen=True)
class MaxW:
    """Every option under its gate plus what the leading one lacks to 1: Max-W weight regularisation.

        y = Σ_o (1 − max_j p_j + p_o) · option_o(x)

    The leading option's coefficient is exactly 1. With `through` the gradient also runs through the maximum: ∂y/∂p of
    the leading option is −Σ of the others' outputs, so it grows only where they disturb; without, its own output.
    Options that do not run keep the coefficient 0; choices of kind `some` keep their gates.
    Source: sharpDARTS (Hundt, Jain, Hager, 2019), equation 4. Its code lets the gradient through, its comment does not.
    """

    through: bool = True
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, gates: Gates, space: Space) -> Gates:
        """Return the coefficients, between 0 and 1 for gates on the simplex."""
        found = Gates() | gates
        for choice in relaxed(space):
            gate, active = gates[choice.name], active_of(gates, choice.name)
            top = gate[int(gate.detach().argmax())]
            lacks = (top if self.through else top.detach()) - gate  # exactly 0 for the leading option
            found[choice.name] = 1 - lacks
            if active is not None:
                found[choice.name] = torch.where(torch.tensor(active, device=gate.device), found[choice.name], 0.0)
        return found
