"""The laws of relaxations: from alphas to gates."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor

from mimar.core.streams import stream
from mimar.gradient.relax import Context, keeps, settle
from mimar.space import Choice, Space
from mimar.testing.expect import close, expect, identical, untouched

SPACE = Space([Choice("a", ("x", "y", "z")), Choice("b", ("p", "q")), Choice("n", ("0", "1", "2"), "some", 2)])
MODES = ((True, "inner"), (True, "outer"), (False, "inner"), (False, "outer"))  # (training, scope)


def check_relaxation(
    part: Any,
    *,
    simplex: bool = True,
    equivariant: bool = True,
    pathwise: bool = False,
    same: Any = None,
    seed: int = 0,
) -> None:
    """Raise AssertionError where `part` breaks a law of relaxations.

    Alphas repeat under their stream; gates cover every choice in the shape of its options, are finite, repeat bit for
    bit under the same stream and write to nothing; for evaluation they need no stream and have no noise. Inactive
    options have gates of exactly 0, constant in the alphas, and leave another one active. A "logprob" in the memo is
    the logarithm of the evaluation gate of the option that was drawn. What `keeps` and `settle` give repeats.
    With `simplex` gates are at least 0 and sum to 1 for every relaxed choice; with `equivariant` (and no noise, that is,
    training off) permuting alphas permutes gates alike; their derivative agrees with a central difference in float64,
    with `pathwise` that of training gates under fixed noise too; where the part has a `temperature`, gates without
    noise come to the one-hot vector of the largest alpha as it falls. `same`: another relaxation with the same gates,
    bit for bit: what a decorator at rate 0 decorates. Pass False for what your relaxation does not promise.
    """
    alphas = _initial(part, seed)
    _repeats(part, alphas, seed)
    _covers(part, alphas, _held(part), seed, simplex)
    _still(part, alphas, seed)
    _zeros(part, alphas, seed)
    _logprob(part, alphas, seed)
    _settles(part, alphas, seed, simplex)
    if equivariant:
        _equivariant(part, alphas, seed)
    for training in (False, True) if pathwise else (False,):
        _derivative(part, alphas, seed, training)
    if hasattr(part, "temperature"):
        _cold(part, alphas, seed)
    if same is not None:
        _alike(part, same, alphas, seed)


def _held(part: Any) -> dict[str, Tensor]:
    return keeps(part, SPACE)


def _context(part: Any, seed: int, training: bool = True, scope: Any = "inner") -> Context:
    """Return a context in the middle of a search, with a convex loss of the gates."""

    def loss(gates: Mapping[str, Tensor]) -> Tensor:
        return torch.stack(
            [(gates[c.name] ** 2 @ torch.arange(1.0, 1 + len(c.options)).to(gates[c.name])) for c in SPACE.choices]
        ).sum()

    return Context(SPACE, 0.5, stream(seed, "gates"), training, scope, held=_held(part), loss=loss)


def _gates(part: Any, alphas: Mapping[str, Tensor], seed: int, training: bool = True) -> dict[str, Tensor]:
    found: dict[str, Tensor] = part.gates(alphas, _context(part, seed, training))
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
    contexts = [_context(part, seed) for _ in range(2)]
    held = {f"{n}, which it keeps": t for n, t in contexts[0].held.items()}
    with untouched(f"{part}.gates", {f"the alpha {n}": a for n, a in alphas.items()} | held):
        first, again = (part.gates(alphas, ctx) for ctx in contexts)
    identical(tuple(first.values()), tuple(again.values()), f"{part}.gates asked again under the same stream")


def _covers(part: Any, alphas: dict[str, Tensor], held: dict[str, Tensor], seed: int, simplex: bool) -> None:
    for training, scope in MODES:
        ctx = _context(part, seed, training, scope)
        ctx.held = held
        gates = part.gates(alphas, ctx)
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


def _still(part: Any, alphas: dict[str, Tensor], seed: int) -> None:
    found = []
    for rng in (stream(seed, "gates"), stream(seed, "other"), None):
        ctx = _context(part, seed, training=False)
        ctx.rng = rng
        found.append(tuple(part.gates(alphas, ctx).values()))
    for other in found[1:]:
        identical(other, found[0], f"{part}.gates for evaluation under another stream, or none")


def _zeros(part: Any, alphas: dict[str, Tensor], seed: int) -> None:
    for (training, scope), draw in product(MODES, range(8)):
        leaves = {n: a.clone().requires_grad_() for n, a in alphas.items()}
        gates = part.gates(leaves, _context(part, seed + draw, training, scope))
        for name, active in getattr(gates, "active", {}).items():
            gate = gates[name]
            expect(
                len(active) == len(gate) and any(active),
                f"{part} calls {active} of {name!r} active; it has {len(gate)} options, and one of them must run",
            )
            idle = gate[~torch.tensor(active)]
            expect(
                bool((idle == 0).all()),
                f"{part} gives inactive options of {name!r} the gates {idle.tolist()}; what does not run must have 0",
            )
            if idle.requires_grad and len(idle):
                slopes = torch.autograd.grad(idle.sum(), list(leaves.values()), allow_unused=True, retain_graph=True)
                expect(
                    not any(bool(g.any()) for g in slopes if g is not None),
                    f"inactive gates of {part} for {name!r} depend on the alphas; nothing comes back to what did not run",
                )


def _logprob(part: Any, alphas: dict[str, Tensor], seed: int) -> None:
    for draw in range(32):  # enough for a rare option
        leaves = {n: a.clone().requires_grad_() for n, a in alphas.items()}
        ctx = _context(part, seed + draw)
        gates, plain = part.gates(leaves, ctx), _gates(part, leaves, seed, training=False)
        for name, value in ctx.memo.get("logprob", {}).items():
            wanted = plain[name][int(gates[name].detach().argmax())].log()
            pair = [torch.autograd.grad(v, leaves[name], retain_graph=True)[0] for v in (value, wanted)]
            what = f"the logprob of {part} for {name!r}, beside the log of the drawn option's evaluation gate"
            close((value.detach(), pair[0]), (wanted.detach(), pair[1]), 1e-9, what)


def _settles(part: Any, alphas: dict[str, Tensor], seed: int, simplex: bool) -> None:
    first, again = _held(part), _held(part)
    expect(list(first) == list(again), f"{part}.keeps gave other names when asked again")
    identical(tuple(first.values()), tuple(again.values()), f"{part}.keeps asked again")
    rng = stream(seed, "step")
    moved = {n: a + 0.1 * torch.randn(a.shape, generator=rng, dtype=a.dtype) for n, a in alphas.items()}
    ends = []
    for held in (first, again):
        after, ctx = {n: a.clone() for n, a in moved.items()}, _context(part, seed, scope="outer")
        ctx.held = held
        with untouched(f"{part}.settle", {f"the former alpha {n}": a for n, a in alphas.items()}):
            settle(part, after, alphas, ctx)
        ends.append((after, held))
    for one, other in zip(*ends, strict=True):
        expect(list(one) == list(other), f"{part}.settle left other names when asked again")
        identical(tuple(one.values()), tuple(other.values()), f"{part}.settle asked again under the same stream")
    expect(set(first) == set(_held(part)), f"{part}.settle changed the names of what it keeps; they are for good")
    _covers(part, *ends[0], seed, simplex)


def _equivariant(part: Any, alphas: dict[str, Tensor], seed: int) -> None:
    plain = _gates(part, alphas, seed, training=False)
    order = {name: torch.arange(len(a) - 1, -1, -1) for name, a in alphas.items()}
    turned = _gates(part, {n: a[order[n]] for n, a in alphas.items()}, seed, training=False)
    for name in alphas:
        close(
            (turned[name],), (plain[name][order[name]],), 1e-9, f"{part} with the options of {name!r} in reverse order"
        )


def _derivative(part: Any, alphas: dict[str, Tensor], seed: int, training: bool) -> None:
    rng = stream(seed, "directions")
    shifts = {n: torch.randn(a.shape, generator=rng, dtype=a.dtype) for n, a in alphas.items()}
    weights = {c.name: torch.randn(len(c.options), generator=rng, dtype=torch.float64) for c in SPACE.choices}

    def value(t: float, base: Mapping[str, Tensor]) -> Tensor:
        gates = _gates(part, {n: base[n] + t * shifts[n] for n in base}, seed, training)
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


def _alike(part: Any, same: Any, alphas: dict[str, Tensor], seed: int) -> None:
    for training, scope in MODES:
        one, other = (p.gates(alphas, _context(p, seed, training, scope)) for p in (part, same))
        what = f"{part} beside {same} (training: {training}, scope: {scope})"
        expect(set(one) == set(other), f"{what}: the choices differ")
        identical(tuple(one[n] for n in other), tuple(other.values()), what)
        expect(getattr(one, "active", {}) == getattr(other, "active", {}), f"{what}: other options are active")
