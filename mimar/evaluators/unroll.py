"""A training as a differentiable function of what it is trained with: full unrolling, backwards segment by segment.

A training is a step s_{t+1} = step(t, s_t, a), s_t being its state and a the outer variables, and losses L_t(s_t, a) of
the states on the way. Under `torch.no_grad` a step makes no graph. Nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mimar.core.derivatives import gradient
from mimar.core.trees import Tensors, add, detached, dot, leaves, zeros_like

Step = Callable[[int, Tensors, Tensors], Tensors]  # (t, s_t, a) → s_{t+1}
OnTheWay = Callable[[int, Tensors, Tensors], Tensor | None]  # (t, s_t, a) → L_t, or None where there is none


class Unrolling(NamedTuple):
    """What came of a training: its losses by step (from 1 on), d Σ L_t / d a, and the state at the end."""

    losses: dict[int, float]
    gradients: Tensors
    state: Tensors


def descent(
    loss: Callable[[int, Tensors, Tensors], Tensor], rates: Callable[[int, Tensors], tuple[Tensor, Tensor]]
) -> Step:
    """Return the step of gradient descent with momentum; a state is the weights followed by their velocities.

    v ← μ_t v + ∇_w loss(t, w, a),   w ← w − η_t v,   (η_t, μ_t) = rates(t, a)
    """

    def step(t: int, state: Tensors, outer: Tensors) -> Tensors:
        graph, half = torch.is_grad_enabled(), len(state) // 2
        w, v = state[:half], state[half:]
        with torch.enable_grad():
            held = w if graph else leaves(w)
            slope = gradient(loss(t, held, outer), held, graph=graph)
        lr, momentum = rates(t, outer)
        v = tuple(momentum * a + g for a, g in zip(v, slope, strict=True))
        return (*(a - lr * b for a, b in zip(w, v, strict=True)), *v)

    return step


def unrolled(
    step: Step, loss: OnTheWay, start: Sequence[Tensor], outer: Sequence[Tensor], steps: int, segment: int = 0
) -> Unrolling:
    """Return the losses of `steps` steps from `start`, and the gradient of their sum in `outer`, without truncation.

    Only the states between segments of `segment` steps are kept; the graph of one segment at a time is made on the way
    back: memory for steps / segment states and `segment` graphs, at the price of running all but the last segment twice.
    0: one segment. Source: Such et al. (2020), section 3; the adjoint recursion is that of Maclaurin et al. (2015).
    """
    length = segment or steps
    begins = list(range(0, steps, length))
    kept = [detached(start)]
    with torch.no_grad():
        for begin in begins[:-1]:
            state = kept[-1]
            for t in range(begin, begin + length):
                state = step(t, state, detached(outer))
            kept.append(state)
    found, end = zeros_like(outer), kept[-1]
    losses: dict[int, float] = {}
    pulled: Tensors | None = None  # d (losses of later segments) / d (state here)
    for begin in reversed(begins):
        first, a = leaves(kept.pop()), leaves(outer)
        stop = min(begin + length, steps)
        with torch.enable_grad():
            state, terms = _segment(step, loss, first, a, begin, stop)
            total = torch.stack(list(terms.values())).sum() if terms else torch.zeros((), device=a[0].device)
            if pulled is None:
                end = detached(state)
            else:
                total = total + dot(state, pulled)
        slopes = gradient(total, (*a, *first))
        found, pulled = add(found, slopes[: len(a)]), slopes[len(a) :]
        losses |= {t: float(value.detach()) for t, value in terms.items()}
    return Unrolling(dict(sorted(losses.items())), found, end)


def _segment(
    step: Step, loss: OnTheWay, state: Tensors, outer: Tensors, begin: int, stop: int
) -> tuple[Tensors, dict[int, Tensor]]:
    terms = {}
    for t in range(begin, stop):
        state = step(t, state, outer)
        value = loss(t + 1, state, outer)
        if value is not None:
            terms[t + 1] = value
    return state, terms
