"""The laws of hypergradients, checked on problems with known answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mimar.core.errors import NonFiniteError, nearest
from mimar.core.streams import stream
from mimar.core.trees import Tensors, add, flat
from mimar.supernet import Supernet
from mimar.testing.expect import close, expect, identical, untouched
from mimar.testing.problems import Ridge, tiny_batch, tiny_model

LR = 0.1  # below 1/λmax of every problem here
Definition = Callable[[Any, Ridge, Tensor, Tensor, float], Tensor]  # (part, problem, w, a, lr) -> the answer


def check_hypergradient(
    part: Any, *, kind: str | Definition | None = None, tolerance: float = 1e-9, seed: int = 0
) -> None:
    """Raise AssertionError where `part` breaks a law of hypergradients; all in float64.

    `kind` says what the part promises on the bilevel problem `Ridge`, to the relative `tolerance`: "direct" ∂L2/∂a;
    "single" ∂L1/∂a; "unrolled" the derivative through `part.steps` plain steps; "neumann" the series with `part.terms`
    products; "implicit" the analytic implicit gradient; or your own function (part, problem, w, a, lr) -> vector.
    Without a kind only the laws of all are checked: shapes, types, zeros for unused tensors, NonFiniteError, repetition,
    `explain` (gradients = direct + implicit), and that weights, alphas, buffers, `.grad`, optimiser state and the global
    random states of torch, NumPy and Python stay as they were, to the last bit.
    """
    _definition(part, kind, tolerance, seed)
    _leaves_everything_alone(part)
    problem = Ridge.drawn(seed)
    weights, alphas = problem.point(seed)
    _answers(part, problem, weights, alphas)
    _explains(part, problem, weights, alphas)
    _zeros_where_unused(part, problem, weights, alphas)
    _refuses_non_finite(part, problem, weights, alphas)


def _definition(part: Any, kind: str | Definition | None, tolerance: float, seed: int) -> None:
    if kind is None:
        return
    if isinstance(kind, str) and kind not in KINDS:
        raise ValueError(nearest(kind, KINDS, kind="kind of hypergradient"))
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "your own")
    definition = KINDS[kind] if isinstance(kind, str) else kind
    for number in range(seed, seed + 3):
        problem = Ridge.drawn(number)
        weights, alphas = problem.point(number)
        stationary = problem.weights(problem.solution(flat(alphas)))
        for where, w in (("at an arbitrary point", weights), ("at the inner solution", stationary)):
            found = part(problem.outer, problem.inner, w, alphas, lr=LR)
            wanted = problem.alphas(definition(part, problem, flat(w), flat(alphas), LR))
            close(found, wanted, tolerance, f"{part} does not follow its definition ({name}) {where}")


def _neumann(part: Any, problem: Ridge, w: Tensor, a: Tensor, lr: float) -> Tensor:
    damping = getattr(part, "damping", 0.0)
    if part.terms < 0:
        return problem.direct(a)
    told = part.explain(problem.outer, problem.inner, problem.weights(w), problem.alphas(a), lr=lr).step
    asked = {"lr": lr, "auto": told}.get(part.step, part.step) if isinstance(part.step, str) else part.step
    expect(told == asked, f"{part} reports the step {told}; it was asked for {asked}")
    largest = float(torch.linalg.eigvalsh(problem.hessian(a)).max()) + damping
    if part.step == "auto":
        expect(0 < told <= 1 / largest, f"{part} took the step {told:.6g}, above 1/λmax = {1 / largest:.6g}")
    return problem.truncated(w, a, part.terms, float(asked), damping)


KINDS: dict[str, Definition] = {
    "direct": lambda part, problem, w, a, lr: problem.direct(a),
    "single": lambda part, problem, w, a, lr: problem.single(w, a),
    "unrolled": lambda part, problem, w, a, lr: problem.unrolled(w, a, part.steps, lr),
    "neumann": _neumann,
    "implicit": lambda part, problem, w, a, lr: problem.implicit(w, a, getattr(part, "damping", 0.0)),
}


def _answers(part: Any, problem: Ridge, weights: Tensors, alphas: Tensors) -> None:
    found = part(problem.outer, problem.inner, weights, alphas, lr=LR)
    expect(isinstance(found, tuple), f"{part} must return a tuple of tensors, not {type(found).__name__}")
    shapes, wanted = ([(tuple(t.shape), t.dtype) for t in ts] for ts in (found, alphas))
    expect(shapes == wanted, f"{part} must return one gradient like each alpha, {wanted}; it returned {shapes}")
    expect(not any(g.requires_grad for g in found), f"{part} must return tensors without a graph behind them")
    again = part(problem.outer, problem.inner, weights, alphas, lr=LR)
    identical(again, found, f"{part} called twice with the same arguments")
    with torch.no_grad():
        identical(
            part(problem.outer, problem.inner, weights, alphas, lr=LR), found, f"{part} called under torch.no_grad()"
        )


def _explains(part: Any, problem: Ridge, weights: Tensors, alphas: Tensors) -> None:
    found = part(problem.outer, problem.inner, weights, alphas, lr=LR)
    told = part.explain(problem.outer, problem.inner, weights, alphas, lr=LR)
    identical(told.gradients, found, f"the gradients of {part}.explain beside those of its call")
    close(add(told.direct, told.implicit), found, 1e-12, f"direct + implicit of {part}.explain beside its gradients")
    expect(0.0 <= told.share <= 1.0, f"{part}.explain tells the share {told.share}; a share lies between 0 and 1")


def _zeros_where_unused(part: Any, problem: Ridge, weights: Tensors, alphas: Tensors) -> None:
    def outer(w: Sequence[Tensor], a: Sequence[Tensor]) -> Tensor:
        return problem.outer(w[:2], a[:2])

    def inner(w: Sequence[Tensor], a: Sequence[Tensor]) -> Tensor:
        return problem.inner(w[:2], a[:2])

    spare = torch.ones(3, dtype=torch.float64)
    found = part(outer, inner, (*weights, spare.clone()), (*alphas, spare.clone()), lr=LR)
    wanted = (*part(problem.outer, problem.inner, weights, alphas, lr=LR), torch.zeros_like(spare))
    close(found, wanted, 1e-9, f"{part} with one weight and one alpha that no loss uses")
    expect(bool((found[-1] == 0).all()), f"{part} must return zeros for an alpha that no loss uses")

    def constant(_w: Sequence[Tensor], _a: Sequence[Tensor]) -> Tensor:
        return torch.ones((), dtype=torch.float64)

    zeros = part(constant, constant, weights, alphas, lr=LR)
    expect(all(bool((g == 0).all()) for g in zeros), f"{part} must return zeros for losses that are constant")


def _refuses_non_finite(part: Any, problem: Ridge, weights: Tensors, alphas: Tensors) -> None:
    for bad in (float("nan"), float("inf")):

        def broken(w: Sequence[Tensor], a: Sequence[Tensor], bad: float = bad) -> Tensor:
            return bad * (problem.outer(w, a) + problem.inner(w, a))

        try:
            part(broken, broken, weights, alphas, lr=LR)
        except NonFiniteError:
            continue
        raise AssertionError(f"{part} must raise NonFiniteError for losses that are {bad}; it returned a result")


def _leaves_everything_alone(part: Any) -> None:
    net = Supernet(tiny_model())
    weights = net.weights
    alphas = {c.name: torch.zeros(len(c.options), dtype=torch.float64) for c in net.space.choices}
    names = tuple(alphas)

    def loss(number: int) -> Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]:
        x, y = tiny_batch(number)

        def value(w: Sequence[Tensor], a: Sequence[Tensor]) -> Tensor:
            gates = {n: torch.softmax(t, 0) for n, t in zip(names, a, strict=True)}
            error = nn.functional.cross_entropy(net.call(w, gates, x, rng=stream(number, "noise")), y)
            return error + 2.0 * flat(w).square().sum()  # convex enough for any series

        return value

    raw = tuple(a.requires_grad_() for a in alphas.values())
    optimiser = torch.optim.SGD([*weights, *raw], lr=0.01, momentum=0.9)
    for tensor in (*weights, *raw):
        tensor.grad = torch.full_like(tensor, 0.5)
    optimiser.step()
    held = {f"the weight {n}": w for n, w in zip(net.weight_names, weights, strict=True)}
    held |= {f"the buffer {n}": b for n, b in zip(net.buffer_names, net.buffers, strict=True)}
    held |= {f"the alpha {n}": a for n, a in zip(names, raw, strict=True)}
    with untouched(f"{part}", held, models=[net.model], optimisers=[optimiser]):
        part(loss(0), loss(1), weights, raw, lr=0.01)
