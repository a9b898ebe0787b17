"""Laws that every term obeys."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from fake_view import NAMES, drawn, softmax, start, view

from mimar.core.derivatives import gradient
from mimar.core.errors import UsageError
from mimar.core.trees import Tensors, flat, leaves, unflat
from mimar.gradient.regularise import (
    Ablation,
    Admm,
    AlphaDecay,
    Concentration,
    Distil,
    ExpectedCost,
    GeneralisationGap,
    LossScale,
    PartialDecay,
    Proximity,
    Tether,
    WeightDecay,
    ZeroOne,
    keeps,
)

TERMS: list[Any] = [
    WeightDecay(0.3),
    AlphaDecay(0.3),
    Distil(0.7, temperature=2.0),
    ExpectedCost(0.3),
    ExpectedCost(0.3, "macs", log=False, scope="outer"),
    ZeroOne(),
    Proximity(0.4),
    Proximity(0.4, adjusted=True),
    Admm(0.4),
    GeneralisationGap(),
    Tether(0.6),
    LossScale(3.0),
    PartialDecay(0.3),
    Concentration(0.3),
]
EVERY = [*TERMS, Ablation()]
ALONE = (WeightDecay, AlphaDecay, Concentration)  # need no view


def held() -> dict[str, torch.Tensor]:
    """Return what terms with a memory may find: a second copy, one teacher, targets."""
    weights, alphas = start()
    found = {f"twin/{i}": w + 0.1 * drawn(f"twin{i}", *w.shape) for i, w in enumerate(weights)}
    found |= {f"ring/0/{i}": t + 0.3 * drawn(f"ring{i}", *t.shape) for i, t in enumerate((*weights, *alphas))}
    found["ring/count"] = torch.tensor(1)
    for name, gate in softmax(alphas).items():
        found[f"admm/z/{name}"] = torch.eye(len(gate), dtype=torch.float64)[0]
        found[f"admm/u/{name}"] = 0.1 * drawn(name, len(gate))
    return found


def value(term: Any, weights: Tensors, alphas: Tensors) -> torch.Tensor:
    return term(weights, alphas, view(weights, alphas, held=held()))


@pytest.mark.parametrize("term", EVERY, ids=str)
def test_a_term_is_a_finite_scalar(term: Any) -> None:
    found = value(term, *start())
    assert found.shape == () and torch.isfinite(found) and found.dtype == torch.float64


@pytest.mark.parametrize("term", TERMS, ids=str)
def test_gradients_are_central_differences(term: Any) -> None:
    weights, alphas = start()
    both, step = (*weights, *alphas), 1e-6
    point = flat(both)

    def at(moved: torch.Tensor) -> float:
        found = unflat(moved, both)
        return float(value(term, found[: len(weights)], found[len(weights) :]))

    expected = torch.stack(
        [
            torch.tensor((at(point + step * e) - at(point - step * e)) / (2 * step), dtype=torch.float64)
            for e in torch.eye(len(point), dtype=torch.float64)
        ]
    )
    w, a = leaves(weights), leaves(alphas)
    found = flat(gradient(value(term, w, a), (*w, *a)))
    assert found.norm() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("term", EVERY, ids=str)
def test_a_term_is_differentiable_twice(term: Any) -> None:
    w, a = (leaves(t) for t in start())
    both = (*w, *a)
    slope = gradient(value(term, w, a), both, graph=True)
    along = tuple(drawn(f"u{i}", *t.shape) for i, t in enumerate(both))
    total = sum((s * u).sum() for s, u in zip(slope, along, strict=True))
    bent, step = flat(gradient(total, both)), 1e-5

    def slopes(sign: float) -> torch.Tensor:
        moved = leaves(t + sign * step * u for t, u in zip(both, along, strict=True))
        return flat(gradient(value(term, moved[: len(w)], moved[len(w) :]), moved))

    assert torch.isfinite(bent).all()
    if not isinstance(term, Ablation):  # constants of its definition move along
        torch.testing.assert_close(bent, (slopes(1.0) - slopes(-1.0)) / (2 * step), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("term", EVERY, ids=str)
def test_a_term_writes_nothing(term: Any) -> None:
    weights, alphas = start()
    seen = view(weights, alphas, held=held())
    before = copy.deepcopy((weights, alphas, seen.held, dict(seen.gates), seen.gates.active))
    term(weights, alphas, seen)
    after = (weights, alphas, seen.held, dict(seen.gates), seen.gates.active)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert all(w.grad is None for w in weights) and set(seen.gates) == set(NAMES)


@pytest.mark.parametrize("term", EVERY, ids=str)
def test_a_term_that_needs_the_view_says_so(term: Any) -> None:
    if isinstance(term, ALONE):
        assert torch.isfinite(term(*start()))
    else:
        with pytest.raises(UsageError, match=f"{type(term).__name__} looks at the whole pass"):
            term(*start())


@pytest.mark.parametrize("term", EVERY, ids=str)
def test_rate_nought_is_nothing(term: Any) -> None:
    weights, alphas = start()
    none = dataclasses.replace(term, rate=1.0 if isinstance(term, LossScale) else 0.0)
    found = value(none, weights, alphas)
    if isinstance(term, GeneralisationGap):  # the training loss takes the place of the validation loss all the same
        found = found - (view(weights, alphas).other() - view(weights, alphas).loss)
    assert found.item() == 0.0
    with pytest.raises(UsageError, match="rate is -1"):
        dataclasses.replace(term, rate=-1.0)


def test_scopes_are_told_and_only_terms_with_a_memory_keep_something() -> None:
    inner = {type(t).__name__ for t in EVERY if t.scope == "inner"}
    assert inner == {"WeightDecay", "Distil", "ExpectedCost", "Tether", "LossScale", "PartialDecay"}
    assert ExpectedCost(scope="outer").scope == "outer"
    kept = {type(t).__name__: list(keeps(t, *start())) for t in EVERY if keeps(t, *start())}
    assert kept == {"Distil": ["ring/count"], "Admm": ["admm/steps"]}
