"""A pull of Dirichlet gates towards the uniform distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import elu

from mimar.core.ranges import NonNegative, validate
from mimar.core.trees import Tensors, flat
from mimar.gradient.regularise.parts import Scope, View
from mimar.gradient.regularise.vectors import length


@dataclass(frozen=True)
class Concentration:
    """rate · ‖β − 1‖ over all alphas a together: β = elu(a) + 1 are concentrations, and β = 1 is the uniform Dirichlet.

    The norm is not squared; its gradient is 0 at β = 1. Source: DrNAS (Chen et al., 2021), with the distance d
    as L2 and rate 1e-3, as recalled.
    """

    rate: NonNegative = 1e-3
    scope: ClassVar[Scope] = "outer"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        return self.rate * length(elu(flat(alphas)))
