"""Hypergradients against answers known in closed form: ridge regression, quadratics, real indefinite Hessians."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mimar.core.errors import DivergenceWarning, UsageError
from mimar.core.series import lanczos, neumann
from mimar.core.streams import stream
from mimar.core.trees import Tensors, flat
from mimar.gradient.hypergradient import ConjugateGradient, Neumann
from mimar.testing import Ridge

F64 = torch.float64


def eye(n: int) -> Tensor:
    return torch.eye(n, dtype=F64)


def spd(rng: torch.Generator, n: int, condition: float) -> Tensor:
    """Return a symmetric matrix with eigenvalues from 1/condition to 1, times a random scale."""
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=F64))
    values = condition ** -torch.linspace(0, 1, n, dtype=F64)
    scale = 10 ** float(4 * torch.rand((), generator=rng) - 2)
    return scale * q @ values.diag() @ q.T


def quadratic(a: Tensor, v: Tensor) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Return (outer, inner) with outer slope v, inner Hessian a, mixed derivative I: the implicit term is −a⁻¹v."""

    def inner(w: Tensors, b: Tensors) -> Tensor:
        return 0.5 * w[0] @ a @ w[0] + w[0] @ b[0]

    return (lambda w, b: v @ w[0]), inner


def zeros(n: int) -> tuple[Tensors, Tensors]:
    return (torch.zeros(n, dtype=F64),), (torch.zeros(n, dtype=F64),)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).detach().norm() / wanted.detach().norm())


# --- the ridge problem: its closed forms, then the estimators -------------------------------------------------------


def test_the_closed_form_is_the_derivative_of_the_solution() -> None:
    problem = Ridge.drawn(3)
    a = flat(problem.point(3)[1]).requires_grad_()
    value = problem.outer(problem.weights(problem.solution(a)), problem.alphas(a))
    truth = torch.autograd.grad(value, a)[0]
    a = a.detach()
    assert relative(problem.implicit(problem.solution(a), a), truth) < 1e-12


def test_the_closed_forms_agree_with_automatic_differentiation() -> None:
    problem = Ridge.drawn(1)
    w, a = (flat(t).requires_grad_() for t in problem.point(1))
    l1 = problem.inner(problem.weights(w), problem.alphas(a))
    slope = torch.autograd.grad(l1, w, create_graph=True)[0]
    assert relative(problem.slope(w, a), slope) < 1e-12
    assert relative(problem.single(w, a), torch.autograd.grad(l1, a, retain_graph=True)[0]) < 1e-12
    rows = [torch.autograd.grad(s, (w, a), retain_graph=True) for s in slope]
    assert relative(torch.stack([r[0] for r in rows]), problem.hessian(a)) < 1e-12
    assert relative(torch.stack([r[1] for r in rows]).T, problem.mixed(w, a)) < 1e-12
    l2 = problem.outer(problem.weights(w), problem.alphas(a))
    found = torch.autograd.grad(l2, (w, a))
    assert relative(problem.outer_slope(w), found[0]) < 1e-12 and relative(problem.direct(a), found[1]) < 1e-12


@pytest.mark.parametrize("terms", range(21))
def test_the_series_is_the_truncated_sum_exactly(terms: int) -> None:
    problem = Ridge.drawn(terms)
    weights, alphas = problem.point(terms)
    for step, damping in ((0.05, 0.0), (0.2, 0.3)):
        found = Neumann(terms, step=step, damping=damping)(problem.outer, problem.inner, weights, alphas, lr=9.0)
        wanted = problem.truncated(flat(weights), flat(alphas), terms, step, damping)
        assert relative(flat(found), wanted) < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_the_error_obeys_its_bound_for_every_number_of_terms(seed: int) -> None:
    problem = Ridge.drawn(seed)
    alphas = problem.point(seed)[1]
    a = flat(alphas)
    w = problem.solution(a)
    values = torch.linalg.eigvalsh(problem.hessian(a))
    least, most = float(values[0]), float(values[-1])
    truth, v = problem.implicit(w, a), problem.outer_slope(w)
    constant = float(torch.linalg.matrix_norm(problem.mixed(w, a), 2) * v.norm()) / least
    errors = []
    for terms in (*range(21), 50, 100):
        found = Neumann(terms, step=1 / most)(problem.outer, problem.inner, problem.weights(w), alphas, lr=1.0)
        errors.append(float((flat(found) - truth).norm()))
        assert errors[-1] <= constant * (1 - least / most) ** (terms + 1) + 1e-13
    assert errors[20] < 0.5 * errors[5] < 0.5 * errors[0]


@pytest.mark.parametrize("seed", range(3))
def test_many_terms_and_conjugate_gradients_are_the_analytic_gradient(seed: int) -> None:
    problem = Ridge.drawn(seed)
    weights, alphas = problem.point(seed)
    truth = problem.implicit(flat(weights), flat(alphas))
    for part in (Neumann(400, step="auto"), ConjugateGradient(6)):
        found = part(problem.outer, problem.inner, weights, alphas, lr=0.1)
        assert relative(flat(found), truth) < 1e-9, part


# --- the step "auto" ------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0.0, 8.0), st.booleans())
def test_auto_is_never_above_one_over_the_largest_eigenvalue(seed: int, n: int, digits: float, crowd: bool) -> None:
    rng = stream(seed, "spd")
    a = spd(rng, n, 10**digits)
    if crowd:  # the hard case: the largest eigenvalue stands barely above many others
        a = a + float(torch.linalg.matrix_norm(a, 2)) * (eye(n) + 1e-3 * torch.rand(n, generator=rng, dtype=F64).diag())
    outer, inner = quadratic(a, torch.randn(n, generator=rng, dtype=F64))
    step = Neumann(0, step="auto").explain(outer, inner, *zeros(n), lr=1.0).step
    largest = float(torch.linalg.eigvalsh(a)[-1])
    assert step is not None and 0 < step * largest <= 1.0


def test_auto_is_of_use() -> None:
    """Not so small that the series stands still: within three of the best step on 50 random problems."""
    rng = stream(0, "use")
    for _ in range(50):
        a = spd(rng, 10, 100.0)
        outer, inner = quadratic(a, torch.randn(10, generator=rng, dtype=F64))
        step = Neumann(0, step="auto").explain(outer, inner, *zeros(10), lr=1.0).step
        assert step is not None and step * float(torch.linalg.eigvalsh(a)[-1]) > 1 / 3


def test_auto_sees_the_damping_and_falls_back_to_lr_where_there_is_no_curvature() -> None:
    outer, inner = quadratic(2.0 * eye(3), torch.ones(3, dtype=F64))
    step = Neumann(0, step="auto", damping=3.0).explain(outer, inner, *zeros(3), lr=1.0).step
    assert step == pytest.approx(1 / 5.5, rel=1e-12)
    outer, inner = quadratic(0.0 * eye(3), torch.ones(3, dtype=F64))
    assert Neumann(0, step="auto").explain(outer, inner, *zeros(3), lr=0.7).step == 0.7


def test_spectra_are_found_without_a_global_generator() -> None:
    before = torch.random.get_rng_state()
    estimate, residual = lanczos(lambda u: (3.0 * u[0],), (torch.zeros(4, dtype=F64),), iterations=3)
    assert (estimate, residual) == (pytest.approx(3.0), pytest.approx(0.0, abs=1e-12))
    assert torch.equal(before, torch.random.get_rng_state())


def test_lanczos_is_exact_in_n_products_where_powers_are_not() -> None:
    values = torch.tensor([1.0, 0.98, 0.9, 0.5, -0.99], dtype=F64)
    x = torch.ones(5, dtype=F64)
    for _ in range(5):  # what the same number of power iterations gives
        x = values * x / x.norm()
    assert float(x.norm()) < 0.99
    assert lanczos(lambda u: (values * u[0],), (values,), iterations=5)[0] == pytest.approx(1.0, rel=1e-9)


# --- conjugate gradients --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_conjugate_gradients_are_exact_in_n_steps_and_not_before(n: int) -> None:
    rng = stream(n, "cg")
    a, v = spd(rng, n, 30.0), torch.randn(n, generator=rng, dtype=F64)
    outer, inner = quadratic(a, v)
    wanted = -torch.linalg.solve(a, v)
    assert relative(ConjugateGradient(n)(outer, inner, *zeros(n), lr=1.0)[0], wanted) < 1e-9
    if n > 1:
        assert relative(ConjugateGradient(n - 1)(outer, inner, *zeros(n), lr=1.0)[0], wanted) > 1e-6


def test_conjugate_gradients_name_negative_curvature_and_the_damping_that_cures_it() -> None:
    outer, inner = quadratic(torch.tensor([[-0.5]], dtype=F64), torch.ones(1, dtype=F64))
    with pytest.warns(DivergenceWarning, match=r"ConjugateGradient met curvature -0.5 .* raise damping above 0.5"):
        ConjugateGradient(3)(outer, inner, *zeros(1), lr=1.0)
    assert ConjugateGradient(3, damping=1.0)(outer, inner, *zeros(1), lr=1.0)[0].item() == pytest.approx(-2.0)


# --- real Hessians --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(6))
def test_real_hessians_need_damping_and_with_it_all_solvers_agree(
    index: int, needs_data: Callable[[str], Path]
) -> None:
    with np.load(needs_data("nas/robustdarts_hessians.npz")) as table:
        h, v = (torch.from_numpy(table[key][index]).double() for key in ("H", "g"))
    values = torch.linalg.eigvalsh(h)
    assert h.shape == (56, 56) and torch.equal(h, h.T) and values[0] < -0.01 < 0.1 < values[-1]
    outer, inner = quadratic(h, v)
    dense = -torch.linalg.solve(h + 0.2 * eye(56), v)
    for part in (Neumann(300, step="auto", damping=0.2), ConjugateGradient(56, damping=0.2)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert relative(part(outer, inner, *zeros(56), lr=1.0)[0], dense) < 1e-8, part
    for part, name in (
        (Neumann(300, step="auto"), "Neumann series grows"),
        (ConjugateGradient(56), "ConjugateGradient"),
    ):
        with pytest.warns(DivergenceWarning, match=name):
            part(outer, inner, *zeros(56), lr=1.0)


# --- what else the series must say ----------------------------------------------------------------------------------


def test_a_step_beyond_two_over_the_largest_eigenvalue_is_named() -> None:
    outer, inner = quadratic(eye(2), torch.ones(2, dtype=F64))
    with pytest.warns(DivergenceWarning, match=r"its last of 4 summands is 3.38 times its first \(step 2.5\)"):
        Neumann(3, step=2.5)(outer, inner, *zeros(2), lr=1.0)
    told = Neumann(3, step=2.5).explain(outer, inner, *zeros(2), lr=1.0)
    assert told.growth == pytest.approx(1.5**3) and told.warning is not None and len(told.norms) == 4


def test_no_terms_is_first_order() -> None:
    problem = Ridge.drawn()
    weights, alphas = problem.point()
    told = Neumann(-1).explain(problem.outer, problem.inner, weights, alphas, lr=0.1)
    assert torch.equal(flat(told.gradients), problem.direct(flat(alphas))) and told.share == 0.0
    assert neumann(lambda j: lambda u: tuple(u), (torch.ones(1),), terms=-1, step=1.0).solution[0].item() == 0.0


def test_passes_count_every_product() -> None:
    assert Neumann(-1).passes == 3.0
    assert Neumann(2).passes == 3 + 3 + 4 * 3
    assert Neumann(2, batches="fresh").passes == 3 + 3 * 3 + 4 * 3
    assert Neumann(2, step="auto").passes - Neumann(2).passes == 40.0
    assert Neumann(2, batches="fresh", step="auto").passes == 3 + 3 * 4 + 4 * 13
    assert Neumann(2, curvature="gauss-newton").passes == 3 + 3 + 6 * 2 + 3 + 4
    assert Neumann(2, mixed="difference").passes == 3 + 3 + 4 * 2 + 6
    assert Neumann(0).passes == 3 + 3 + 4
    assert ConjugateGradient(10).passes == 3 + 3 + 44


@pytest.mark.parametrize("terms", [-2, 1.5, True])
def test_terms_out_of_range_are_refused(terms: object) -> None:
    with pytest.raises(UsageError, match="Neumann.terms"):
        Neumann(terms)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [0.0, -1.0, "fast", float("nan")])
def test_steps_that_are_none_are_refused(step: object) -> None:
    with pytest.raises(UsageError, match="Neumann.step"):
        Neumann(step=step)  # type: ignore[arg-type]
