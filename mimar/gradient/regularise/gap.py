"""The gap between the two halves of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.trees import Tensors
from mimar.gradient.regularise.parts import Scope, View, seen


@dataclass(frozen=True)
class GeneralisationGap:
    """Makes the outer loss the training loss and its distance to the validation loss.

        (L_train − L_val) + rate · |L_val − L_train|,    so that with L_val the sum is L_train + rate · |L_val − L_train|

    L_val: the data loss of this pass; L_train: that of the same weights and gates on the step's training batch. Raises
    UsageError without a view. Costs one pass. Source: UNAS (Vahdat et al., 2020), rate 0.5.
    """

    rate: NonNegative = 0.5
    scope: ClassVar[Scope] = "outer"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        view = seen(view, self)
        gap = view.loss - view.other()
        return self.rate * gap.abs() - gap
