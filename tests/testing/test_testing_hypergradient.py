"""The tester tested: every planted error of a hypergradient must be caught, by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mimar.core.derivatives import Curvature
from mimar.core.errors import NonFiniteError
from mimar.core.trees import add, norm, scale
from mimar.gradient.hypergradient import Neumann
from mimar.gradient.hypergradient.parts import Explanation
from mimar.testing import Ridge, check_hypergradient

GOOD = Neumann(3, step=0.05)


class Planted:
    """A right hypergradient with one error in it."""

    terms, step, damping = 3, 0.05, 0.0

    def __init__(self, spoil: Callable[[Explanation, Any], Explanation]) -> None:
        self.spoil = spoil

    def __repr__(self) -> str:
        return f"Planted({self.spoil.__name__})"

    def explain(self, outer: Any, inner: Any, weights: Any, alphas: Any, *, lr: float) -> Explanation:
        found = GOOD.explain(outer, inner, weights, alphas, lr=lr)
        return self.spoil(found, (outer, inner, weights, alphas))

    def __call__(self, *args: Any, lr: float) -> Any:
        return self.explain(*args, lr=lr).gradients


def right(found: Explanation, _at: Any) -> Explanation:
    return found


def sign_error(found: Explanation, _at: Any) -> Explanation:
    implicit = scale(found.implicit, -1.0)
    return replace(found, gradients=add(found.direct, implicit), implicit=implicit)


def stale_factor(found: Explanation, at: Any) -> Explanation:
    """Use the mixed derivative of a point that the weights have left."""
    _, inner, weights, alphas = at
    old = Curvature(inner, tuple(1.01 * w for w in weights), alphas).mixed(weights)
    new = Curvature(inner, weights, alphas).mixed(weights)
    implicit = add(found.implicit, add(old, new, -1.0))
    return replace(found, gradients=add(found.direct, implicit), implicit=implicit)


def one_term_short(found: Explanation, at: Any) -> Explanation:
    return replace(GOOD, terms=2).explain(*at, lr=0.1)


def missing_restore(found: Explanation, at: Any) -> Explanation:
    """The released iDARTS: probe along one vector, restore along another."""
    weights = at[2]
    with torch.no_grad():
        for w in weights:
            w.add_(w, alpha=1e-9).sub_(1.1e-9 * w)
    return found


def accumulates(found: Explanation, at: Any) -> Explanation:
    for w in at[2]:
        if w.grad is not None:
            w.grad.add_(1e-12)
    return found


def draws_from_torch(found: Explanation, _at: Any) -> Explanation:
    torch.rand(1)
    return found


def draws_from_numpy(found: Explanation, _at: Any) -> Explanation:
    np.random.rand()
    return found


def draws_from_python(found: Explanation, _at: Any) -> Explanation:
    random.random()
    return found


def noisy(found: Explanation, _at: Any) -> Explanation:
    noise = tuple(1e-12 * torch.randn_like(g) for g in found.gradients)
    return replace(found, gradients=add(found.gradients, noise))


def wrong_share(found: Explanation, _at: Any) -> Explanation:
    return replace(found, direct=scale(found.direct, 0.5))


def wrong_type(found: Explanation, _at: Any) -> Explanation:
    return replace(found, gradients=tuple(g.float() for g in found.gradients))


def a_list(found: Explanation, _at: Any) -> Explanation:
    return replace(found, gradients=list(found.gradients))  # type: ignore[arg-type]


def half_a_list(found: Explanation, _at: Any) -> Explanation:
    return replace(found, gradients=found.gradients[:1])


def keeps_the_graph(found: Explanation, _at: Any) -> Explanation:
    return replace(found, gradients=tuple(g.requires_grad_() for g in found.gradients))


PLANTED = {
    sign_error: "does not follow its definition",
    stale_factor: "does not follow its definition",
    one_term_short: "does not follow its definition",
    missing_restore: "changed the weight",
    accumulates: r"changed the weight .*\.grad",
    draws_from_torch: "torch's global generator",
    draws_from_numpy: "NumPy's global generator",
    draws_from_python: "Python's global generator",
    wrong_share: r"direct \+ implicit",
    wrong_type: "one gradient like each alpha",
    a_list: "must return a tuple",
    half_a_list: "the shapes are",
    keeps_the_graph: "without a graph",
}


def test_the_right_part_passes() -> None:
    check_hypergradient(GOOD, kind="neumann")
    check_hypergradient(Planted(right), kind=lambda part, p, w, a, lr: p.truncated(w, a, 3, 0.05))


@pytest.mark.parametrize("error", PLANTED, ids=lambda f: f.__name__)
def test_planted_errors_are_caught(error: Any) -> None:
    kind = None
    if "definition" in PLANTED[error] or error is half_a_list:
        kind = lambda part, p, w, a, lr: p.truncated(w, a, 3, 0.05)
    with pytest.raises(AssertionError, match=PLANTED[error]):
        check_hypergradient(Planted(error), kind=kind)


def test_noise_from_a_private_generator_is_caught_too() -> None:
    rng = torch.Generator().manual_seed(0)

    def restless(found: Explanation, _at: Any) -> Explanation:
        noise = tuple(1e-12 * torch.randn(g.shape, generator=rng, dtype=g.dtype) for g in found.gradients)
        return replace(found, gradients=add(found.gradients, noise))

    with pytest.raises(AssertionError, match="called twice with the same arguments"):
        check_hypergradient(Planted(restless))


def test_swallowed_nan_and_forgotten_zeros_are_caught() -> None:
    class Swallows(Planted):
        def explain(self, *args: Any, lr: float) -> Explanation:
            try:
                return super().explain(*args, lr=lr)
            except NonFiniteError:
                zeros = tuple(torch.zeros_like(a) for a in args[3])
                return Explanation(zeros, zeros, zeros)

    class Forgets(Planted):
        def explain(self, *args: Any, lr: float) -> Explanation:
            found = super().explain(*args, lr=lr)
            filled = tuple(g if norm((g,)) > 0 else g + 1e-6 for g in found.gradients)
            return replace(found, gradients=filled, direct=add(found.direct, add(filled, found.gradients, -1.0)))

    with pytest.raises(AssertionError, match="must raise NonFiniteError"):
        check_hypergradient(Swallows(right))
    with pytest.raises(AssertionError, match="that no loss uses"):
        check_hypergradient(Forgets(right))


def test_a_step_above_the_bound_is_caught() -> None:
    class Bold(Planted):
        step: Any = "auto"

        def explain(self, *args: Any, lr: float) -> Explanation:
            return replace(GOOD, step=0.9).explain(*args, lr=lr)

    with pytest.raises(AssertionError, match=r"above 1/λmax"):
        check_hypergradient(Bold(right), kind="neumann")


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'implicit'"):
        check_hypergradient(GOOD, kind="implicid")
    assert Ridge.drawn(0).x.dtype is torch.float64
