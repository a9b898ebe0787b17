"""What all hypergradients share: the interface, the explanation of one call, and the factors of an implicit term."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from mimar.core.derivatives import Curvature, Loss, gauss_newton, gradient, mixed_difference
from mimar.core.errors import DivergenceWarning, NonFiniteError, UsageError
from mimar.core.series import Product
from mimar.core.trees import Tensors, add, finite, leaves, norm
from mimar.supernet import Gates


class Hypergradient(Protocol):
    """An estimator of d L2(w*(a), a) / da.

    `part(outer, inner, weights, alphas, lr=η)` returns one tensor per alpha. `outer(w, a)` and `inner(w, a)` return
    scalar losses and may be called repeatedly: the caller fixes batch and noise. Weights, buffers, `.grad`, optimiser
    state and random state are bitwise the same afterwards. Raises NonFiniteError; warns DivergenceWarning by name.
    """

    def __call__(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Tensors: ...

    def explain(
        self, outer: Loss, inner: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, lr: float
    ) -> Explanation: ...

    @property
    def passes(self) -> float:
        """Cost of one call, in forward passes of one batch (a gradient is 3, a product on its graph 4)."""
        ...


@dataclass(frozen=True)
class Explanation:
    """One hypergradient with its shares: gradients = direct + implicit."""

    gradients: Tensors
    direct: Tensors
    implicit: Tensors
    norms: tuple[float, ...] = ()  # of each summand of the series, or of each residual
    step: float | None = None  # the γ in use
    warning: str | None = None
    samples: tuple[
        tuple[Gates, float], ...
    ] = ()  # gates that were tried and their losses, for updates without gradients
    names: tuple[str, ...] = ()  # of the alphas, where the losses know them

    @property
    def share(self) -> float:
        """‖implicit‖ / (‖direct‖ + ‖implicit‖): 0 where only the direct term acts."""
        implicit, direct = norm(self.implicit), norm(self.direct)
        return implicit / (implicit + direct) if implicit + direct > 0 else 0.0

    @property
    def growth(self) -> float:
        """Norm of the last summand or residual over that of the first: above 1 where the series grows."""
        return self.norms[-1] / self.norms[0] if self.norms and self.norms[0] > 0 else 0.0

    def told(self) -> Tensors:
        """Return the gradients after warning of what went wrong on the way."""
        if self.warning:
            warnings.warn(self.warning, DivergenceWarning, stacklevel=3)
        return self.gradients


def explained(
    name: str,
    direct: Tensors,
    implicit: Tensors,
    *,
    norms: tuple[float, ...] = (),
    step: float | None = None,
    warning: str | None = None,
) -> Explanation:
    """Put an explanation together; raise NonFiniteError where a term is not finite, by name."""
    for part, tensors in (("direct", direct), ("implicit", implicit)):
        if not finite(tensors):
            raise NonFiniteError(
                f"the {part} term of {name} is not finite; lower the learning rates or the step of the series, or add damping"
            )
    return Explanation(add(direct, implicit), direct, implicit, norms, step, warning)


def outer_slopes(outer: Loss, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> tuple[Tensors, Tensors]:
    """Return (∂L2/∂w, ∂L2/∂a)."""
    w, a = leaves(weights), leaves(alphas)
    slopes = gradient(outer(w, a), (*w, *a))
    return slopes[: len(w)], slopes[len(w) :]


def implicit_passes(products: int, *, fresh: int = 0, gauss_newton: bool = False, difference: bool = False) -> float:
    """Return the cost of an implicit term in forward passes: 3 a gradient graph, 4 a product on it and for C.

    `fresh`: the number of fresh batches among the products, each with a graph of its own, and one more for C; 0 where
    all share one. A Gauss–Newton product costs 6, on a graph apart from that of C; a central difference for C costs two
    gradients instead of a product.
    """
    graphs = fresh or min(products, 1)
    shared = products > 0 and not fresh and not gauss_newton  # C finds its graph already made
    last = 6.0 if difference else 4.0 if shared else 7.0
    return 3.0 * graphs + (6.0 if gauss_newton else 4.0) * products + last


class Factors:
    """The factors A = H + ρI and C = ∂²L1/∂a∂w of an implicit term, from one training batch or a fresh one each."""

    def __init__(
        self,
        inner: Any,  # a Loss; with .fresh(j) and .split(w, a) where those are asked for
        weights: Sequence[Tensor],
        alphas: Sequence[Tensor],
        *,
        batches: str = "shared",
        damping: float = 0.0,
        curvature: str = "hessian",
    ) -> None:
        if batches == "fresh" and not hasattr(inner, "fresh"):
            raise UsageError(
                'batches="fresh" needs a loss with .fresh(j), as the search loops give; got a plain callable: use "shared"'
            )
        if curvature == "gauss-newton" and not hasattr(inner, "split"):
            raise UsageError(
                'curvature="gauss-newton" needs a loss with .split(w, a) -> (outputs, loss, rest), as the search loops '
                'give; got a plain callable: use "hessian"'
            )
        self.inner, self.weights, self.alphas = inner, weights, alphas
        self.fresh, self.damping, self.gauss_newton = batches == "fresh", damping, curvature == "gauss-newton"
        self._shared: Curvature | None = None
        self._gauss: Product | None = None

    def _loss(self, j: int) -> Any:
        return self.inner.fresh(j) if self.fresh else self.inner

    def _at(self, j: int) -> Curvature:
        if self.fresh:
            return Curvature(self._loss(j), self.weights, self.alphas)
        if self._shared is None:
            self._shared = Curvature(self.inner, self.weights, self.alphas)
        return self._shared

    def product(self, j: int) -> Product:
        """Return u ↦ (H_j + ρI) u."""
        base = self._gauss_newton(j) if self.gauss_newton else self._at(j).hessian
        return (lambda u: add(base(u), tuple(u), self.damping)) if self.damping else base

    def _gauss_newton(self, j: int) -> Product:
        if self.fresh:
            return gauss_newton(self._loss(j).split, self.weights, self.alphas)
        if self._gauss is None:
            self._gauss = gauss_newton(self.inner.split, self.weights, self.alphas)
        return self._gauss

    def mixed(self, j: int, u: Tensors, how: str = "exact") -> Tensors:
        """Return C_j u, exactly or by DARTS' central difference."""
        if how == "difference":
            return mixed_difference(self._loss(j), self.weights, self.alphas, u)
        return self._at(j).mixed(u)
