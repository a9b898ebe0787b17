"""A second copy of the weights, trained on the validation half and tied to the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from mimar.core.derivatives import gradient
from mimar.core.optimisers import Sgd
from mimar.core.ranges import Range, validate
from mimar.core.trees import Tensors
from mimar.search.losses import BatchLoss


@dataclass(frozen=True)
class Twin:
    """Weights y beside the weights w: before each alpha step y ← y − η (∇_y L2(y, a) + β (y − w)), β = `tie`.

    With the momentum and the clipping of w's own optimiser. Their tie to w is the term `Tether`, which reads y from what
    the search holds, as "twin/i" in the order of the weights. Batch-norm statistics of y are its own.
    Source: RARTS (Xue, Qi, Xin, 2020), as recalled.
    """

    tie: Annotated[float, Range(0.0, None)] = 10.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def keeps(self, weights: Sequence[Tensor], buffers: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the copy, its momentum and its buffers at the start."""
        found = {f"twin/{i}": w.detach().clone() for i, w in enumerate(weights)}
        found |= {f"twin momentum/{i}": torch.zeros_like(w, requires_grad=False) for i, w in enumerate(weights)}
        return found | {f"twin buffer/{i}": b.detach().clone() for i, b in enumerate(buffers)}

    def weights(self, held: dict[str, Tensor], count: int) -> Tensors:
        """Return y."""
        return tuple(held[f"twin/{i}"] for i in range(count))

    def buffers(self, held: dict[str, Tensor], count: int) -> Tensors:
        """Return the batch-norm statistics of y."""
        return tuple(held[f"twin buffer/{i}"] for i in range(count))

    def step(self, loss: BatchLoss, weights: Sequence[Tensor], alphas: Tensors, inner: Sgd, lr: float) -> None:
        """Take one step of y on the outer loss, in place in what the loss holds."""
        held = loss.held
        y = tuple(t.clone().requires_grad_() for t in self.weights(held, len(weights)))
        fixed, new = tuple(a.detach() for a in alphas), []  # type: ignore[var-annotated]
        _, value, rest = loss.passed(y, fixed, loss.gates(fixed), new)
        slopes = gradient(value + rest, y)
        with torch.no_grad():
            grads = [g + self.tie * (t - w) for g, t, w in zip(slopes, y, weights, strict=True)]
            if inner.clip:
                grads = [g * min(1.0, inner.clip / (float(torch.nn.utils.get_total_norm(grads)) + 1e-6)) for g in grads]
            moments = [held[f"twin momentum/{i}"] for i in range(len(y))]
            targets = [held[f"twin/{i}"] for i in range(len(y))]
            sgd(
                targets,
                grads,
                list(moments),
                weight_decay=0.0,
                momentum=inner.momentum,
                lr=lr,
                dampening=0.0,
                nesterov=inner.nesterov,
                maximize=False,
            )
            for old, after in zip(self.buffers(held, len(new[0])), new[0], strict=True):
                old.copy_(after)
