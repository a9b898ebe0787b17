"""A factor before the data loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.trees import Tensors
from mimar.gradient.regularise.parts import Scope, View, seen


@dataclass(frozen=True)
class LossScale:
    """(rate − 1) · L on the inner loss, so that the data loss L counts `rate` times; nothing at rate=1.

    Raises UsageError without a view. Source: RARTS (Xue, Qi, Xin, 2020), its λ; 10 on its toy problem, as recalled.
    """

    rate: NonNegative = 10.0
    scope: ClassVar[Scope] = "inner"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        return (self.rate - 1.0) * seen(view, self).loss
