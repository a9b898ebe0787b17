"""Weight decay and alpha decay as losses, so that Hessians and hypergradients see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from mimar.core.ranges import Range, validate
from mimar.core.trees import Tensors, square
from mimar.gradient.regularise.parts import View

Rate = Annotated[float, Range(0.0, None)]


@dataclass(frozen=True)
class WeightDecay:
    """½ · rate · ‖w‖² on the inner loss: adds rate · w to the gradient and rate to every eigenvalue of the Hessian.

    A schedule that sets "decay" multiplies the rate by it.
    """

    rate: Rate = 3e-4
    scope: ClassVar[Literal["inner", "outer"]] = "inner"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        factor = 1.0 if view is None else view.settings.get("decay", 1.0)
        return 0.5 * factor * self.rate * square(weights)


@dataclass(frozen=True)
class AlphaDecay:
    """½ · rate · ‖a‖² on the outer loss (DARTS: 1e-3, there inside Adam)."""

    rate: Rate = 1e-3
    scope: ClassVar[Literal["inner", "outer"]] = "outer"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        return 0.5 * self.rate * square(alphas)
