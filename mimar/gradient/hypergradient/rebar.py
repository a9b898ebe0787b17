"""The gradient of an expected loss over architectures, with a soft sample of the same noise as control variate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.derivatives import Loss, gradient
from mimar.core.ranges import Count, Positive, validate
from mimar.core.trees import Tensors, add, scale, zeros_like
from mimar.gradient.hypergradient.parts import Explanation, explained
from mimar.gradient.hypergradient.tried import Cost, Paths, drawn, trying

OfGates = Callable[[Tensors], Tensor]  # one (…, options) tensor a choice → (…) losses


def rebar(
    loss_hard: OfGates, loss_soft: OfGates, logits: Sequence[Tensor], rng: torch.Generator, temperature: float
) -> tuple[Tensor, Tensors, Tensor]:
    """Return a scalar whose gradient in `logits`, each (…, options), is an unbiased estimate of ∇ E_z[ℓ_hard(z)].

        (ℓ_hard(z) − ℓ_soft(s)) · ∇ log p(z) + ∂ℓ_soft/∂s · (ds/dα − ds̃/dα)

    z: the largest of g = α + Gumbel noise; s = softmax(g / τ); s̃: the same relaxation given z, with noise that is a
    function of that of s such that s̃ = s, so that one soft loss serves both. Both its gradients in closed form:
    dg_i/dα_j − dg̃_i/dα_j = exp(g_i − g_z) (δ_ij − p_j), that of exp(g_i − g_z) · log p_i with the factor held fixed.
    Any ℓ_soft leaves it unbiased; one like ℓ_hard makes its variance small. Leading dimensions are draws, averaged.
    Also returns the one-hot draws and their (…) losses. Gradients of ℓ_hard in the logits are added as they are.
    """
    hard, noisy, score = drawn(logits, rng)
    soft = []
    for x, g in zip(logits, noisy, strict=True):
        log_p = torch.log_softmax(x, -1)
        near = torch.exp(g - g.amax(-1, keepdim=True))
        soft.append(torch.softmax((g + near * (log_p - log_p.detach())) / temperature, -1))
    value, smooth = loss_hard(hard), loss_soft(tuple(soft))
    slope = (value - smooth).detach() * score + smooth + (value - value.detach())
    return slope.mean(), hard, value.detach()


@dataclass(frozen=True)
class Rebar:
    """Gradient of the expected outer loss over architectures drawn from the alphas, weights taken as constants.

        g ≈ ∇_a E[L2(w, z) + cost(z)],    z_c ~ Cat(softmax(a_c)),    by `rebar` above, the mean over `samples`

    Unbiased for what a search ends with, a single path, where the gradient of a mixture is not. Quieter than the score
    function where many choices share the loss; of a single choice only than the one without a baseline. `cost` may be any
    function of architectures: `hard` of the sampled one is only evaluated, `soft` is its stand-in in the control variate.
    Choices of kinds `one` and `size` are drawn; others keep the gates of the relaxation and its gradient.
    Cost a sample: one pass of a path, one gradient of the whole supernet. Raises UsageError for a plain callable.
    Source: REBAR (Tucker et al., 2017), UNAS (Vahdat et al., 2020) and its release. Differs from the first: the control
    variate has weight 1 and neither it nor τ is tuned.
    """

    temperature: Positive = 0.4
    samples: Count = 1
    cost: Cost | None = None
    dense: ClassVar[bool] = True  # its soft passes run everything, whatever its samples run
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
        rng, total, samples = paths.outer.rng("rebar"), zeros_like(paths.alphas), []
        for _ in range(self.samples):
            slope, hard, value = rebar(paths.hard, paths.soft, paths.logits, rng, self.temperature)
            total = add(total, gradient(slope, paths.alphas, keep=True))
            samples.append((paths.path(hard), value))
        direct = scale(total, 1.0 / self.samples)
        return trying(explained("Rebar", direct, zeros_like(direct)), samples, outer, self)

    @property
    def passes(self) -> float:
        """Cost in forward passes of one batch, that of a single path counted as a whole one."""
        return 4.0 * self.samples
