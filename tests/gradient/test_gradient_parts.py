"""Every part of the gradient room through its kit, and relaxations, derivations, schedules, terms by themselves."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from mimar.core.errors import SpaceError, UsageError
from mimar.core.streams import stream
from mimar.core.trees import flat
from mimar.gradient.derive import Strongest, strengths
from mimar.gradient.hypergradient import ConjugateGradient, FirstOrder, Neumann, SingleLevel, Unrolled
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import Context, Perturbed, Softmax, entropy
from mimar.gradient.schedule import Alternate
from mimar.space import Architecture, Choice, Space, darts, nasbench201
from mimar.testing import check_hypergradient, check_relaxation

HYPERGRADIENTS: list[tuple[Any, str | None]] = [
    (FirstOrder(), "direct"),
    (SingleLevel(), "single"),
    (Unrolled(), "unrolled"),
    (Unrolled(steps=4), "unrolled"),
    (Unrolled(mixed="difference"), None),
    (Neumann(), "neumann"),
    (Neumann(-1), "neumann"),
    (Neumann(0, step=0.3), "neumann"),
    (Neumann(3, step="auto", damping=0.5), "neumann"),
    (Neumann(mixed="difference"), None),
    (ConjugateGradient(iterations=6), "implicit"),
    (ConjugateGradient(iterations=6, damping=0.5), "implicit"),
]


@pytest.mark.parametrize(("part", "kind"), HYPERGRADIENTS, ids=lambda v: str(v))
def test_hypergradients_obey_the_kit(part: Any, kind: str | None) -> None:
    check_hypergradient(part, kind=kind)


@pytest.mark.parametrize("part", [Softmax(), Softmax(temperature=0.3, scale=1.0)])
def test_relaxations_obey_the_kit(part: Any) -> None:
    check_relaxation(part)


@pytest.mark.parametrize("part", [Perturbed(Softmax(scale=1.0)), Perturbed(Perturbed(Softmax()), radius=0.1)], ids=str)
def test_relaxations_off_the_simplex_obey_the_kit(part: Any) -> None:
    check_relaxation(part, simplex=False)


def test_many_terms_are_the_implicit_gradient_of_the_kit() -> None:
    check_hypergradient(Neumann(100, step="auto"), kind="implicit", tolerance=1e-4)


# --- relaxation and entropy -----------------------------------------------------------------------------------------


def test_softmax_starts_near_uniform_from_its_stream() -> None:
    space = nasbench201()
    first, again, other = (Softmax().init(space, stream(s, "a")) for s in (0, 0, 1))
    assert list(first) == [c.name for c in space.choices]
    assert all(torch.equal(first[n], again[n]) and not torch.equal(first[n], other[n]) for n in first)
    assert 0 < float(flat(tuple(first.values())).abs().max()) < 6e-3


def test_softmax_leaves_candidates_of_some_open() -> None:
    space = darts(nodes=2)
    gates = Softmax().gates(Softmax().init(space, stream(0)), Context(space))
    assert set(gates) == {c.name for c in space.choices}
    assert all(torch.equal(gates[c.name], torch.ones(len(c.options))) for c in space.choices if c.kind == "some")


def test_perturbed_gates_are_uniform_around_the_gates_of_the_weights_alone() -> None:
    space = Space([Choice("a", ("x", "y")), Choice("n", ("p", "q"), "some", 1)])
    alphas = {"a": torch.zeros(2, dtype=torch.float64)}
    for progress, width in ((0.0, 0.03), (0.5, 0.165), (1.0, 0.3)):  # the published ramp
        drawn = torch.stack(
            [Perturbed(Softmax()).gates(alphas, Context(space, progress, stream(i)))["a"] for i in range(4000)]
        )
        moved = (drawn - 0.5) / width
        assert 0.98 < float(moved.max()) <= 1 + 1e-9 and -1 - 1e-9 <= float(moved.min()) < -0.98
        assert float(moved.mean()) == pytest.approx(0, abs=0.03)
        assert float(moved.var()) == pytest.approx(1 / 3, rel=0.05)
        assert abs(float(torch.corrcoef(moved.T)[0, 1])) < 0.06  # every gate has its own


def test_perturbed_is_the_identity_outside_of_the_inner_problem_and_without_a_radius() -> None:
    space = Space([Choice("a", ("x", "y", "z")), Choice("n", ("p", "q"), "some", 1)])
    alphas = {"a": torch.tensor([1.0, -2.0, 0.5])}
    plain = Softmax().gates(alphas, Context(space))
    same = (
        (Perturbed(Softmax()), Context(space, 1.0, stream(0), scope="outer")),
        (Perturbed(Softmax()), Context(space, 1.0, stream(0), training=False)),
        (Perturbed(Softmax(), radius=0.0), Context(space, 1.0, stream(0))),
    )
    for part, ctx in same:
        assert all(torch.equal(gate, plain[name]) for name, gate in part.gates(alphas, ctx).items())
    found = Perturbed(Softmax(), radius=1.0, start=1.0).gates(alphas, Context(space, 0.0, stream(0)))
    assert not torch.equal(found["a"], plain["a"]) and 0 <= float(found["a"].min()) <= float(found["a"].max()) <= 1
    assert torch.equal(found["n"], torch.ones(2))  # edges stay open
    with pytest.raises(ValueError, match="needs a stream"):
        Perturbed(Softmax()).gates(alphas, Context(space))


def test_entropy_is_one_where_uniform_and_nought_where_decided() -> None:
    space = Space([Choice("a", ("x", "y")), Choice("b", ("x", "y", "z", "u")), Choice("c", ("p", "q"), "some", 1)])
    uniform = {"a": torch.full((2,), 0.5), "b": torch.full((4,), 0.25), "c": torch.ones(2)}
    decided = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([1.0, 0, 0, 0]), "c": torch.ones(2)}
    half = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([0.5, 0.5, 0, 0]), "c": torch.ones(2)}
    assert entropy(uniform, space) == pytest.approx(1.0)
    assert entropy(decided, space) == 0.0
    assert entropy(half, space) == pytest.approx(0.5 * math.log(2) / math.log(4))
    assert entropy({}, Space([Choice("c", ("p", "q"), "some", 1)])) == 0.0


# --- derivation -----------------------------------------------------------------------------------------------------


def darts_gates(seed: int) -> tuple[Space, dict[str, torch.Tensor]]:
    space = darts()
    gates = {}
    for choice in space.choices:
        drawn = torch.softmax(2 * torch.randn(len(choice.options), generator=stream(seed, choice.name)), 0)
        gates[choice.name] = torch.ones(len(choice.options)) if choice.kind == "some" else drawn
    return space, gates


@pytest.mark.parametrize("seed", range(5))
def test_two_strongest_edges_a_node_and_never_none(seed: int) -> None:
    """The same as the DARTS release writes it: sort edges by their largest gate that is not none, keep two."""
    space, gates = darts_gates(seed)
    if seed == 0:
        for name, gate in gates.items():  # none is the loudest everywhere
            gates[name] = torch.cat([torch.tensor([9.0]), gate[1:]]) if "-" in name else gate
    found = Strongest()(space, gates)
    space.check(found)
    for cell in ("normal", "reduce"):
        for j in range(2, 6):
            best = {i: max(gates[f"{cell}/{i}-{j}"][1:].tolist()) for i in range(j)}
            kept = sorted(sorted(range(j), key=lambda i: -best[i])[:2])
            assert found[f"{cell}/node{j}"] == tuple(str(i) for i in kept)
            for i in range(j):
                name = f"{cell}/{i}-{j}"
                assert (name in found) == (i in kept)
                if i in kept:
                    assert found[name] == space[name].options[1 + int(gates[name][1:].argmax())] != "none"


def test_ties_go_to_the_earlier_option() -> None:
    space, gates = darts_gates(0)
    found = Strongest()(space, {n: torch.ones_like(g) for n, g in gates.items()})
    assert found["normal/node5"] == ("0", "1") and found["reduce/1-4"] == "max_pool_3x3"
    flat_space = nasbench201()
    tied = {c.name: torch.tensor([0.1, 0.3, 0.3, 0.2, 0.1]) for c in flat_space.choices}
    assert set(Strongest()(flat_space, tied).values()) == {"skip_connect"}


def test_strength_of_a_candidate_is_its_gate_times_the_best_below() -> None:
    space, gates = darts_gates(3)
    gates["normal/node2"] = torch.tensor([0.5, 2.0])
    found = strengths(space, gates)["normal/node2"]
    assert found["0"] == pytest.approx(0.5 * float(gates["normal/0-2"][1:].max()))
    assert found["1"] == pytest.approx(2.0 * float(gates["normal/1-2"][1:].max()))


def test_derivation_inverts_encoding() -> None:
    for space in (darts(), nasbench201()):
        for seed in range(10):
            arch = space.sample(stream(seed))
            gates = {c.name: torch.zeros(len(c.options)) for c in space.choices} | space.gates(arch)
            assert Strongest()(space, gates) == arch


# --- schedule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 2, 5])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("warmup", [0, 1, 4])
@pytest.mark.parametrize("per_epoch", [1, 3, 10])
def test_alternate_counts_what_it_does(epochs: int, steps: int, warmup: int, per_epoch: int) -> None:
    plan = Alternate(epochs=epochs, inner_steps=steps, warmup=warmup)
    due = [at for at in range(epochs * per_epoch) if plan.outer_due(at, per_epoch)]
    assert plan.outer_steps(per_epoch) == len(due) == max(epochs - warmup, 0) * per_epoch // steps
    assert all(at >= warmup * per_epoch for at in due)
    assert all(b - a == steps for a, b in pairwise(due))
    assert not due or due[0] == warmup * per_epoch + steps - 1


def test_the_rate_falls_by_a_cosine() -> None:
    plan = Alternate(epochs=4, floor=0.001)
    rates = [plan.rate(epoch, 0.025) for epoch in range(4)]
    assert rates[0] == 0.025 and rates[2] == pytest.approx(0.013)
    assert all(a > b > 0.001 for a, b in pairwise(rates))
    assert Alternate(epochs=4, floor=0.1).rate(3, 0.025) == 0.025  # the floor never lifts the rate
    with pytest.raises(UsageError, match="Alternate.inner_steps is 0; it must be a whole number at least 1"):
        Alternate(inner_steps=0)


# --- terms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "which"), [(WeightDecay(0.3), 0), (AlphaDecay(0.3), 1)])
def test_decay_adds_its_rate_to_the_gradient_and_the_spectrum(part: Any, which: int) -> None:
    groups = tuple(
        tuple(torch.randn(s, generator=stream(i, s[0]), dtype=torch.float64).requires_grad_() for s in ((2, 3), (4,)))
        for i in range(2)
    )
    assert part.scope == ("inner", "outer")[which]
    mine, other = groups[which], groups[1 - which]
    slopes = torch.autograd.grad(part(*groups), mine, create_graph=True)
    torch.testing.assert_close(flat(slopes), 0.3 * flat(mine), rtol=1e-12, atol=0)
    rows = [flat(torch.autograd.grad(s, mine, retain_graph=True)) for s in flat(slopes)]
    torch.testing.assert_close(torch.linalg.eigvalsh(torch.stack(rows)), torch.full((10,), 0.3, dtype=torch.float64))
    assert torch.autograd.grad(part(*groups), other, allow_unused=True) == (None, None)


def test_negative_decay_is_refused() -> None:
    with pytest.raises(UsageError, match="WeightDecay.rate is -1.0; it must be a number at least 0"):
        WeightDecay(-1.0)


@pytest.mark.parametrize("wanted", [0, 3, 6])
def test_strongest_within_constraints_is_the_best_permitted_one(wanted: int) -> None:
    free = nasbench201()
    rng = torch.Generator().manual_seed(wanted)
    gates = {c.name: torch.softmax(torch.randn(5, generator=rng), 0) for c in free.choices}

    def skips(arch: Architecture) -> bool:
        return sum(v == "skip_connect" for v in arch.values()) == wanted

    tied = Space(free.choices, constraints=(skips,))

    def product(arch: Architecture) -> float:
        return sum(float(gates[n][free[n].options.index(v)].log()) for n, v in arch.items())

    assert Strongest()(tied, gates) == max(tied.enumerate(), key=product)


def test_constraints_that_nothing_satisfies_are_named() -> None:
    free = nasbench201()
    never = Space(free.choices, constraints=(lambda arch: False,))
    with pytest.raises(SpaceError, match="loosen them"):
        Strongest()(never, {c.name: torch.ones(5) for c in free.choices})
