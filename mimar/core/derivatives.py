"""First and second derivatives of scalar losses of two arguments (weights, alphas), as pure functions.

Shapes follow the arguments; tensors that a loss does not use get zeros. Nothing is written to `.grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar

import torch
from torch import Tensor

from mimar.core.trees import Tensors, add, dot, filled, leaves, norm, scale

Loss = Callable[[Tensors, Tensors], Tensor]


def gradient(value: Tensor, inputs: Sequence[Tensor], *, keep: bool = False, graph: bool = False) -> Tensors:
    """Return d value / d inputs; `keep` retains the graph, `graph` makes the result differentiable itself."""
    if not inputs:
        return ()
    if not value.requires_grad:
        return tuple(torch.zeros_like(x) for x in inputs)
    found = torch.autograd.grad(value, inputs, retain_graph=keep or graph, create_graph=graph, allow_unused=True)
    return filled(found, inputs)


# Set while a gradient is made of which only the dependence is used, never the values: an operation of ours may then leave
# the values of a leaf's gradient out. A third of a gradient's cost.
DEPENDENCE_ONLY: ContextVar[bool] = ContextVar("DEPENDENCE_ONLY", default=False)


class Curvature:
    """Second derivatives of one loss at one point (w, a), sharing one gradient graph between all products.

        hessian(u) = (∂²L/∂w∂w) u        mixed(u) = (∂²L/∂a∂w) u

    `u` and the results of `hessian` have the shapes of w, those of `mixed` the shapes of a.
    Cost: one gradient with graph (3 forward passes), then about 4 passes a product.
    """

    def __init__(self, loss: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> None:
        self.weights, self.alphas = leaves(weights), leaves(alphas)
        # on aliases: of a leaf an operation cannot know whether a product wants its derivative, of an alias it can
        value = loss(tuple(w.view_as(w) for w in self.weights), self.alphas)
        token = DEPENDENCE_ONLY.set(True)
        try:
            slope = gradient(value, self.weights, graph=True)
        finally:
            DEPENDENCE_ONLY.reset(token)
        self._moving = [i for i, g in enumerate(slope) if g.requires_grad]
        self._slope = [slope[i] for i in self._moving]  # ∂L/∂w as a function; its values may be missing

    def hessian(self, u: Sequence[Tensor]) -> Tensors:
        """Return H u, keeping the graph for further products."""
        return self._product(u, self.weights)

    def mixed(self, u: Sequence[Tensor]) -> Tensors:
        """Return the derivative in alphas of ⟨∂L/∂w, u⟩, keeping the graph for further products."""
        return self._product(u, self.alphas)

    def _product(self, u: Sequence[Tensor], inputs: Sequence[Tensor]) -> Tensors:
        if not self._slope or not inputs:
            return tuple(torch.zeros_like(x) for x in inputs)
        along = [u[i] for i in self._moving]
        found = torch.autograd.grad(self._slope, inputs, along, retain_graph=True, allow_unused=True)
        return filled(found, inputs)


def mixed_difference(loss: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], u: Sequence[Tensor]) -> Tensors:
    """Return (∂²L/∂a∂w) u by the central difference of DARTS: ε = 0.01 / ‖u‖.

    Error O(ε²) where L is smooth; measured 1e-2 relative with ReLU, which is why the exact product is the default.
    """
    length = norm(u)
    if length == 0.0:
        return tuple(torch.zeros_like(a) for a in alphas)
    step = 0.01 / length
    sides = []
    for sign in (1.0, -1.0):
        a = leaves(alphas)
        with torch.enable_grad():
            sides.append(gradient(loss(add([w.detach() for w in weights], u, sign * step), a), a))
    return scale(add(sides[0], sides[1], -1.0), 1 / (2 * step))


def gauss_newton(
    split: Callable[[Tensors, Tensors], tuple[Tensors, Tensor, Tensor]],
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
) -> Callable[[Sequence[Tensor]], Tensors]:
    """Return u ↦ (JᵀSJ + R) u, the Gauss–Newton curvature of ℓ(z(w)) + r(w) in w: J = ∂z/∂w, S = ∂²ℓ/∂z∂z, R = ∂²r/∂w∂w.

    `split(w, a)` gives (z, ℓ, r): the network's outputs, the loss of them, and the rest (weight decay).
    Never negative along any direction when ℓ and r are convex, which is why it tames an indefinite Hessian.
    """
    w = leaves(weights)
    outputs, loss, rest = split(w, leaves(alphas))
    slopes = torch.autograd.grad(loss, outputs, create_graph=True)
    probes = tuple(torch.zeros_like(z, requires_grad=True) for z in outputs)
    pulled = filled(torch.autograd.grad(outputs, w, probes, create_graph=True, allow_unused=True), w)  # Jᵀ p
    rest_slope = gradient(rest, w, graph=True)

    def product(u: Sequence[Tensor]) -> Tensors:
        held = [(p, v) for p, v in zip(pulled, u, strict=True) if p.requires_grad]  # weights that the outputs depend on
        slope = dot([p for p, _ in held], [v for _, v in held])
        pushed = gradient(slope, probes, keep=True)  # J u, since Jᵀp is linear in p
        bent = gradient(dot(slopes, pushed), outputs, keep=True)
        back = filled(torch.autograd.grad(outputs, w, bent, retain_graph=True, allow_unused=True), w)
        return add(back, gradient(dot(rest_slope, u), w, keep=True))

    return product
