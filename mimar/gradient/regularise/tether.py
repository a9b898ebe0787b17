"""Terms of a search with two copies of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mimar.core.errors import UsageError
from mimar.core.ranges import NonNegative, validate
from mimar.core.trees import Tensors, add, square
from mimar.gradient.regularise.parts import Scope, View, seen


@dataclass(frozen=True)
class Tether:
    """½ · rate · ‖w − y‖² on the inner loss: ties the weights to the second copy y, a constant here.

    y is what the search holds as "twin/i", in the order of the weights. Raises UsageError without a view or without y.
    Source: RARTS (Xue, Qi, Xin, 2020), the term of β; 10 on its toy problem, as recalled.
    """

    rate: NonNegative = 10.0
    scope: ClassVar[Scope] = "inner"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        held = seen(view, self).held
        if weights and "twin/0" not in held:
            raise UsageError("Tether ties the weights to a second copy, but this search has none; give it a twin")
        twin = [held[f"twin/{i}"].detach() for i in range(len(weights))]
        return 0.5 * self.rate * square(add(weights, twin, -1.0))
