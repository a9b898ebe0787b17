"""What all terms share."""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Tensor

from mimar.core.trees import Tensors


class Term(Protocol):
    """An extra loss: added to the inner (training) or the outer (validation) loss, as its `scope` says."""

    @property
    def scope(self) -> Literal["inner", "outer"]: ...

    def __call__(self, weights: Tensors, alphas: Tensors) -> Tensor:
        """Return a scalar, differentiable in both."""
        ...
