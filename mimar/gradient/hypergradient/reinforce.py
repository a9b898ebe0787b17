"""The gradient of an expected loss over architectures from their losses alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from mimar.core.derivatives import Loss, gradient
from mimar.core.ranges import Range, validate
from mimar.core.trees import Tensors, add, scale, zeros_like
from mimar.gradient.hypergradient.parts import Explanation, explained
from mimar.gradient.hypergradient.tried import Cost, Paths, drawn, trying


@dataclass(frozen=True)
class Reinforce:
    """Score-function gradient of the expected outer loss over architectures drawn from the alphas.

        g ≈ mean_i (ℓ_i − b_i) ∇_a log p(z_i),    b_i the mean of the other samples' losses,    z_c ~ Cat(softmax(a_c))

    Unbiased, needs no derivative of anything but the softmax, and runs single paths only; its variance is that of the
    losses. `cost`: `hard` of each sample is added to its loss. Raises UsageError for a plain callable.
    Source: Williams (1992); the baseline of Kool et al. (2019), which needs no memory, unlike a running mean of losses.
    """

    samples: Annotated[int, Range(2)] = 2
    cost: Cost | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Tensors:
        return self.explain(outer, inner, weights, alphas, lr=lr).told()

    @torch.enable_grad()
    def explain(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Explanation:
        """Return the estimate with the architectures that were tried and their losses; all of it is direct."""
        paths = Paths(outer, weights, alphas, self)
        rng, scores, values, gates, total = paths.outer.rng("reinforce"), [], [], [], zeros_like(paths.alphas)
        for _ in range(self.samples):
            hard, _noisy, score = drawn(paths.logits, rng)
            value = paths.hard(hard)
            total = add(total, gradient(value, paths.alphas, keep=True))  # of what depends on alphas by itself
            scores.append(score)
            values.append(value.detach())
            gates.append(paths.path(hard))
        losses = torch.stack(values)
        others = (losses.sum() - losses) / (self.samples - 1)
        slope = ((losses - others) * torch.stack(scores)).sum()
        direct = scale(add(total, gradient(slope, paths.alphas)), 1.0 / self.samples)
        return trying(explained("Reinforce", direct, zeros_like(direct)), zip(gates, values, strict=True), outer, self)

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch."""
        return 1.0 * self.samples
