"""The laws of relaxations: from alphas to gates."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mimar.core.streams import stream
from mimar.gradient.relax import Context
from mimar.space import Choice, Space
from mimar.testing.expect import close, expect, identical, untouched

SPACE = Space([Choice("a", ("x", "y", "z")), Choice("b", ("p", "q")), Choice("n", ("0", "1", "2"), "some", 2)])


def check_relaxation(part: Any, *, simplex: bool = True, equivariant: bool = True, seed: int = 0) -> None:
    """Raise AssertionError where `part` breaks a law of relaxations.

    Alphas repeat under their stream; gates cover every choice in the shape of its options, are finite, repeat bit for
    bit under the same stream and write to nothing; with `simplex` they are at least 0 and sum to 1 for every relaxed
    choice; with `equivariant` (and no noise, that is, training off) permuting alphas permutes gates alike; their
    derivative agrees with a central difference in float64; where the part has a `temperature`, gates without noise come
    to the one-hot vector of the largest alpha as it falls. Pass False for what your relaxation does not promise.
    """
    alphas = _initial(part, seed)
    _repeats(part, alphas, seed)
    _covers(part, alphas, seed, simplex)
    if equivariant:
        _equivariant(part, alphas, seed)
    _derivative(part, alphas, seed)
    if hasattr(part, "temperature"):
        _cold(part, alphas, seed)


def _gates(part: Any, alphas: Mapping[str, Tensor], seed: int, training: bool = True) -> dict[str, Tensor]:
    found: dict[str, Tensor] = part.gates(alphas, Context(SPACE, 0.5, stream(seed, "gates"), training))
    return found


def _initial(part: Any, seed: int) -> dict[str, Tensor]:
    """Return alphas of the part's own names and shapes, spread out, in float64."""
    with untouched(f"{part}.init", {}):
        first, again = (part.init(SPACE, stream(seed, "init")) for _ in range(2))
    expect(list(first) == list(again), f"{part}.init gave other names when asked again under the same stream")
    identical(tuple(first.values()), tuple(again.values()), f"{part}.init asked again under the same stream")
    known = {choice.name for choice in SPACE.choices}
    expect(set(first) <= known, f"{part}.init named {sorted(set(first) - known)}, which are no choices of the space")
    rng = stream(seed, "alphas")
    return {n: torch.randn(a.shape, generator=rng, dtype=torch.float64) for n, a in first.items()}


def _repeats(part: Any, alphas: dict[str, Tensor], seed: int) -> None:
    with untouched(f"{part}.gates", {f"the alpha {n}": a for n, a in alphas.items()}):
        first, again = (_gates(part, alphas, seed) for _ in range(2))
    identical(tuple(first.values()), tuple(again.values()), f"{part}.gates asked again under the same stream")


def _covers(part: Any, alphas: dict[str, Tensor], seed: int, simplex: bool) -> None:
    for training in (True, False):
        gates = _gates(part, alphas, seed, training)
        for choice in SPACE.choices:
            expect(choice.name in gates, f"{part}.gates gave no gates for the choice {choice.name!r}")
            gate = gates[choice.name]
            expect(
                gate.shape == (len(choice.options),),
                f"{part}.gates gave {choice.name!r} the shape {tuple(gate.shape)}; it has {len(choice.options)} options",
            )
            expect(bool(torch.isfinite(gate).all()), f"{part}.gates are not finite for {choice.name!r}")
            if simplex and choice.kind == "one":
                total, least = float(gate.detach().sum()), float(gate.detach().min())
                expect(
                    abs(total - 1) < 1e-6 and least >= 0,
                    f"the gates of {part} for {choice.name!r} sum to {total:.6g} and are at least {least:.3g}; on the "
                    "simplex they sum to 1 and are at least 0 (pass simplex=False if that is not promised)",
                )


def _equivariant(part: Any, alphas: dict[str, Tensor], seed: int) -> None:
    plain = _gates(part, alphas, seed, training=False)
    order = {name: torch.arange(len(a) - 1, -1, -1) for name, a in alphas.items()}
    turned = _gates(part, {n: a[order[n]] for n, a in alphas.items()}, seed, training=False)
    for name in alphas:
        close(
            (turned[name],), (plain[name][order[name]],), 1e-9, f"{part} with the options of {name!r} in reverse order"
        )


def _derivative(part: Any, alphas: dict[str, Tensor], seed: int) -> None:
    rng = stream(seed, "directions")
    shifts = {n: torch.randn(a.shape, generator=rng, dtype=a.dtype) for n, a in alphas.items()}
    weights = {c.name: torch.randn(len(c.options), generator=rng, dtype=torch.float64) for c in SPACE.choices}

    def value(t: float, base: Mapping[str, Tensor]) -> Tensor:
        gates = _gates(part, {n: base[n] + t * shifts[n] for n in base}, seed, training=False)
        return torch.stack([(gates[n] * weights[n]).sum() for n in weights]).sum()

    leaves = {n: a.clone().requires_grad_() for n, a in alphas.items()}
    here = value(0.0, leaves)
    expect(here.requires_grad, f"{part}.gates are not differentiable in the alphas")
    found = torch.autograd.grad(here, list(leaves.values()), allow_unused=True)
    slope = sum((float((g * shifts[n]).sum()) for n, g in zip(leaves, found, strict=True) if g is not None), 0.0)
    wanted = float(value(1e-5, alphas) - value(-1e-5, alphas)) / 2e-5
    expect(
        abs(slope - wanted) <= 1e-5 * max(abs(wanted), 1e-2),
        f"the derivative of {part}.gates is {slope:.8g} along a direction, but a central difference gives {wanted:.8g}",
    )


def _cold(part: Any, alphas: dict[str, Tensor], seed: int) -> None:
    cold = copy.copy(part)
    object.__setattr__(cold, "temperature", 1e-3)
    gates = _gates(cold, alphas, seed, training=False)
    for name, alpha in alphas.items():
        wanted = torch.nn.functional.one_hot(alpha.argmax(), len(alpha)).to(gates[name])
        close((gates[name],), (wanted,), 1e-6, f"{part} at temperature 0.001, where {name!r} must be decided")
