"""Estimators that try architectures of their own: unbiased by enumeration, and what they run; costs; two copies of weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mimar.core.errors import NonFiniteError, UsageError
from mimar.core.streams import stream
from mimar.core.trees import flat
from mimar.gradient.hypergradient import (
    Explanation,
    FirstOrder,
    HingeCost,
    Neumann,
    Observed,
    Rebar,
    Reinforce,
    Relaxed,
    Sampled,
)
from mimar.gradient.hypergradient.rebar import rebar
from mimar.gradient.hypergradient.tried import drawn
from mimar.gradient.relax import Context
from mimar.gradient.relax.categorical import Categorical
from mimar.space import Choice, Space
from mimar.supernet import Gates, Supernet
from mimar.testing import check_hypergradient
from mimar.testing.problems import tiny_batch, tiny_model

F64 = torch.float64


def within(found: Tensor, wanted: Tensor, errors: float = 4.0) -> bool:
    """Tell whether the mean of `found` (draws, …) lies within so many standard errors of what is wanted."""
    spread = found.std(0) / math.sqrt(len(found))
    return bool(((found.mean(0) - wanted).abs() <= errors * spread + 1e-12).all())


# --- the estimator on plain tensors ---------------------------------------------------------------------------------

LOGITS = torch.tensor([0.3, -0.4, 0.8], dtype=F64)
COEFFICIENTS = torch.tensor([3.0, -1.0, 0.5], dtype=F64)


def quadratic(z: tuple[Tensor, ...]) -> Tensor:
    """A loss that is not linear in its gates."""
    return ((z[0] * COEFFICIENTS).sum(-1) - 0.7).square() + z[0][..., 0] * z[0][..., 2]


def per_draw(
    hard: Callable[..., Tensor], soft: Callable[..., Tensor], logits: Sequence[Tensor], draws: int, seed: int = 0
) -> list[Tensor]:
    """Return the estimate of every draw, one (draws, options) tensor a choice."""
    copies = [x.expand(draws, -1).clone().requires_grad_() for x in logits]
    slope, _, _ = rebar(hard, soft, copies, stream(seed, "rebar"), 0.5)
    return [draws * g for g in torch.autograd.grad(slope, copies)]


def exact(loss: Callable[..., Tensor], logits: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return ∇ Σ_z p(z) loss(z) by enumeration."""
    points = tuple(x.clone().requires_grad_() for x in logits)
    log_p, total = [torch.log_softmax(x, -1) for x in points], torch.zeros((), dtype=F64)
    for options in itertools.product(*(range(len(x)) for x in logits)):
        chance = sum((lp[o] for lp, o in zip(log_p, options, strict=True)), start=torch.zeros((), dtype=F64)).exp()
        total = total + chance * loss(
            tuple(torch.eye(len(x), dtype=F64)[o] for x, o in zip(logits, options, strict=True))
        )
    return torch.autograd.grad(total, points)


def test_rebar_is_unbiased() -> None:
    (found,), (wanted,) = per_draw(quadratic, quadratic, [LOGITS], 400_000), exact(quadratic, [LOGITS])
    assert within(found, wanted)
    torch.testing.assert_close(found.mean(0), wanted, rtol=0, atol=0.015)


def variances(loss: Callable[..., Tensor], logits: Sequence[Tensor], draws: int) -> tuple[float, float, float]:
    """Return the variance of Rebar, and at the same draws those of the score function with its mean and without."""
    copies = [x.expand(draws, -1).clone().requires_grad_() for x in logits]
    hard, _, score = drawn(copies, stream(0, "rebar"))
    slopes, losses = torch.autograd.grad(score.sum(), copies), loss(hard)
    centred, plain = ([weight[:, None] * s for s in slopes] for weight in (losses - losses.mean(), losses))
    estimates = (per_draw(loss, loss, logits, draws), centred, plain)
    return tuple(float(sum(x.var(0).sum() for x in xs)) for xs in estimates)


def test_rebar_is_quieter_than_the_score_function() -> None:
    """Of one choice than without a baseline; of the fourteen of a cell than with the best constant one too."""

    def one(z: tuple[Tensor, ...]) -> Tensor:
        return ((z[0] * torch.tensor([1.0, 0.0, 0.3], dtype=F64)).sum(-1) + 1.0).square()

    ours, _, plain = variances(one, [LOGITS], 100_000)
    assert ours < 0.3 * plain
    rng = stream(1)
    table = torch.randn(14, 5, generator=rng, dtype=F64)
    logits = [0.3 * torch.randn(5, generator=rng, dtype=F64) for _ in range(14)]

    def many(z: tuple[Tensor, ...]) -> Tensor:
        total = sum((x * row).sum(-1) for x, row in zip(z, table, strict=True))
        return torch.nn.functional.softplus(1 + 0.3 * total) + 0.05 * (total - 1).square()

    ours, centred, plain = variances(many, logits, 10_000)
    assert ours < 0.6 * centred and ours < 0.1 * plain


def test_rebar_is_unbiased_for_choices_that_depend_on_each_other() -> None:
    logits = [LOGITS, torch.tensor([0.2, -0.6], dtype=F64)]

    def loss(z: tuple[Tensor, ...]) -> Tensor:
        table = torch.tensor([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]], dtype=F64)
        return torch.einsum("...a,ab,...b->...", z[0], table, z[1]).square() - z[1][..., 0] * z[0][..., 1]

    for found, wanted in zip(per_draw(loss, loss, logits, 200_000), exact(loss, logits), strict=True):
        assert within(found, wanted)


def test_a_stand_in_of_any_kind_leaves_it_unbiased() -> None:
    """The hard loss is a black box without a derivative; the soft one is linear and wrong."""

    def black_box(z: tuple[Tensor, ...]) -> Tensor:
        return torch.tensor([2.0, 0.0, 5.0], dtype=F64)[z[0].argmax(-1)]

    def linear(z: tuple[Tensor, ...]) -> Tensor:
        return (z[0] * torch.tensor([2.5, 1.0, 4.0], dtype=F64)).sum(-1)

    (found,), (wanted,) = per_draw(black_box, linear, [LOGITS], 200_000), exact(black_box, [LOGITS])
    assert within(found, wanted)
    (bare,) = per_draw(black_box, lambda z: 0 * linear(z), [LOGITS], 200_000)
    assert within(bare, wanted) and found.var(0).sum() < 0.5 * bare.var(0).sum()


def test_its_soft_gradient_is_that_of_the_conditional_relaxation() -> None:
    """s̃ written out: Gumbel noise given the largest, as a function of uniform noise that is held fixed."""
    draws, tau = 200, 0.5
    copies = LOGITS.expand(draws, -1).clone().requires_grad_()
    hard, noisy, score = drawn([copies], stream(0, "rebar"))
    g, z = noisy[0], hard[0].argmax(-1, keepdim=True)
    top = g.gather(-1, z)
    fixed = copies.detach()
    exponents = torch.where(hard[0] > 0, fixed.exp().sum(-1, keepdim=True) * (-top).exp(), 0.0)
    exponents = exponents + torch.where(hard[0] > 0, 0.0, fixed.exp() * ((-g).exp() - (-top).exp()))  # E_i, Exp(1)
    total = torch.logsumexp(copies, -1, keepdim=True)
    highest = total - exponents.gather(-1, z).log()
    others = -(exponents * (-copies).exp() + (-highest).exp()).log()
    given = torch.where(hard[0] > 0, highest, others)
    torch.testing.assert_close(given.detach(), g, rtol=1e-9, atol=1e-9)
    s, s_given = (torch.softmax(x / tau, -1) for x in (copies + (g - fixed), given))
    want = (quadratic(hard) - quadratic((s,))).detach() * score + quadratic((s,)) - quadratic((s_given,))
    (wanted,) = torch.autograd.grad(want.sum(), copies)
    torch.testing.assert_close(per_draw(quadratic, quadratic, [LOGITS], draws)[0], wanted, rtol=1e-8, atol=1e-8)


# --- as parts, on an outer loss -------------------------------------------------------------------------------------

SPACE = Space([Choice("a", ("x", "y", "z")), Choice("b", ("p", "q")), Choice("s", ("i", "j"), "some", 1)])
START = (LOGITS, torch.tensor([0.2, -0.6], dtype=F64), torch.tensor([0.4, -0.1], dtype=F64))


@dataclass
class Outer:
    """An outer loss as a search loop gives it; the choice `s` has alphas too, which stay a mixture."""

    seed: int = 0
    decay: float = 0.3
    names: tuple[str, ...] = ("a", "b", "s")
    space: Space = SPACE
    progress: float = 1.0
    decided: Mapping[str, Any] = field(default_factory=dict)
    costs: Callable[[str], Mapping[str, Tensor]] | None = None
    seen: list[tuple[Gates, bool]] = field(default_factory=list)

    def rng(self, name: str) -> torch.Generator:
        return stream(self.seed, name)

    def gates(self, alphas: Sequence[Tensor]) -> Gates:
        return Gates({n: torch.softmax(a, 0) for n, a in zip(self.names, alphas, strict=True)})

    def under(self, weights: Any, gates: Mapping[str, Tensor], alphas: Sequence[Tensor]) -> Tensor:
        self.seen.append((Gates(gates, getattr(gates, "active", None)), gates["a"].requires_grad))
        mixed = gates["a"] @ torch.tensor([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]], dtype=F64) @ gates["b"]
        term = sum((a.square().sum() for a in alphas), start=torch.zeros((), dtype=F64))
        return (mixed + gates["s"][0] - weights[0].sum()).square() + self.decay * term

    def __call__(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        return self.under(weights, self.gates(alphas), alphas)


WEIGHTS = (torch.tensor([0.2, 0.3], dtype=F64),)


def expected(outer: Outer, cost: HingeCost | None = None) -> tuple[Tensor, ...]:
    """Return the gradient of the expected loss over `a` and `b`, everything else as it depends on the alphas."""
    alphas = tuple(x.clone().requires_grad_() for x in START)
    total = torch.zeros((), dtype=F64)
    for i, j in itertools.product(range(3), range(2)):
        chance = torch.softmax(alphas[0], 0)[i] * torch.softmax(alphas[1], 0)[j]
        gates = outer.gates(alphas) | {"a": torch.eye(3, dtype=F64)[i], "b": torch.eye(2, dtype=F64)[j]}
        price = 0.0 if cost is None else cost.hard(gates, outer)
        total = total + chance * (outer.under(WEIGHTS, gates, alphas) + price)
    return torch.autograd.grad(total, alphas)


def table(measure: str) -> dict[str, Tensor]:
    return {"a": torch.tensor([4.0, 1.0, 2.0]), "b": torch.tensor([6.0, 0.0]), "s": torch.tensor([9.0, 9.0])}


@pytest.mark.parametrize(
    "part",
    [
        Rebar(samples=25),
        Rebar(samples=25, temperature=2.0, cost=HingeCost(target=1.0)),
        Reinforce(samples=25),
        Reinforce(samples=2, cost=HingeCost(target=1.0)),
    ],
    ids=str,
)
def test_estimates_are_unbiased_on_an_outer_loss(part: Any) -> None:
    rows = []
    for seed in range(40):
        told = part.explain(Outer(seed, costs=table), None, WEIGHTS, START, lr=0.1)
        assert len(told.samples) == part.samples and told.names == ("a", "b", "s")
        rows.append(flat(told.gradients))
    assert within(torch.stack(rows), flat(expected(Outer(costs=table), part.cost)))


def test_only_the_sampled_path_is_run_and_the_soft_one_runs_all() -> None:
    for part, kinds in ((Rebar(samples=2), [False, True] * 2), (Reinforce(samples=3), [False] * 3)):
        outer = Outer()
        told = part.explain(outer, None, WEIGHTS, START, lr=0.1)
        assert [soft for _, soft in outer.seen] == kinds
        paths = [gates for gates, soft in outer.seen if not soft]
        for gates, (sample, loss) in zip(paths, told.samples, strict=True):
            for name in ("a", "b"):
                assert sum(gates.active[name]) == 1 and gates[name].tolist() == [float(on) for on in gates.active[name]]
                assert torch.equal(sample[name], gates[name]) and sample.active == gates.active
            assert "s" not in gates.active and gates["s"].requires_grad  # no path: the mixture it is
            assert loss == pytest.approx(float(outer.under(WEIGHTS, sample, START)))
        assert all(not g.active for g, soft in outer.seen if soft)


def test_each_sample_is_measured_against_the_others() -> None:
    """Σ_i (ℓ_i − b_i) (onehot_i − p) / n, b_i the mean of the other losses."""
    told = Reinforce(samples=4).explain(Outer(decay=0.0), None, WEIGHTS, START, lr=0.1)
    losses, p = [loss for _, loss in told.samples], torch.softmax(START[0], 0)
    others = [(sum(losses) - loss) / 3 for loss in losses]
    rows = [(x - b) * (g["a"] - p) / 4 for x, b, (g, _) in zip(losses, others, told.samples, strict=True)]
    torch.testing.assert_close(told.gradients[0], torch.stack(rows).sum(0), rtol=1e-12, atol=1e-14)


def test_decided_choices_are_not_drawn() -> None:
    @dataclass
    class Decided(Outer):
        def gates(self, alphas: Sequence[Tensor]) -> Gates:
            fixed = {"a": torch.tensor([0.0, 1.0, 0.0], dtype=F64)}
            return Gates({**Outer.gates(self, alphas), **fixed}, {"a": (False, True, False)})

    for part in (Rebar(samples=4), Reinforce(samples=4)):
        told = part.explain(Decided(decay=0.0, decided={"a": "y"}), None, WEIGHTS, START, lr=0.1)
        assert all(gates["a"].tolist() == [0, 1, 0] for gates, _ in told.samples)
        assert torch.equal(told.gradients[0], torch.zeros(3, dtype=F64)) and bool(told.gradients[1].any())


@dataclass
class Network:
    """The loss of the tiny supernet on a batch."""

    net: Supernet
    number: int = 0

    @property
    def space(self) -> Space:
        return self.net.space

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.space.choices)

    def rng(self, name: str) -> torch.Generator:
        return stream(self.number, name)

    def gates(self, alphas: Sequence[Tensor]) -> Gates:
        ctx = Context(self.space, 0.0, self.rng("gates"))
        return Categorical().gates(dict(zip(self.names, alphas, strict=True)), ctx)

    def under(self, weights: Any, gates: Mapping[str, Tensor], alphas: Any = None) -> Tensor:
        x, y = tiny_batch(self.number)
        return torch.nn.functional.cross_entropy(self.net.call(weights, gates, x, rng=self.rng("net")), y)

    def __call__(self, weights: Any, alphas: Any) -> Tensor:
        return self.under(weights, self.gates(alphas), alphas)


@pytest.mark.parametrize("part", [Rebar(), Reinforce(), Sampled(), Observed(FirstOrder())], ids=str)
def test_a_network_is_left_alone_and_answers_repeat(part: Any) -> None:
    net = Supernet(tiny_model())
    loss = Network(net)
    alphas = tuple(torch.zeros(len(c.options), dtype=F64, requires_grad=True) for c in net.space.choices)
    before, global_state = [t.clone() for t in (*net.weights, *net.buffers)], torch.random.get_rng_state()
    first, again = (part.explain(loss, loss, net.weights, alphas, lr=0.1) for _ in range(2))
    with torch.no_grad():
        third = part(loss, loss, net.weights, alphas, lr=0.1)
    for other in (again.gradients, third):
        assert all(torch.equal(a, b) and not b.requires_grad for a, b in zip(first.gradients, other, strict=True))
    assert [v for _, v in first.samples] == [v for _, v in again.samples]
    assert all(torch.equal(a, b) for a, b in zip(before, (*net.weights, *net.buffers), strict=True))
    assert all(t.grad is None for t in (*net.weights, *alphas))
    assert torch.equal(torch.random.get_rng_state(), global_state)
    assert all(g.shape == a.shape and g.dtype == a.dtype for g, a in zip(first.gradients, alphas, strict=True))
    for gates, value in first.samples:
        assert math.isfinite(value) and not any(g.requires_grad for g in gates.values())
        assert value == pytest.approx(float(loss.under(net.weights, gates).detach()))


def test_sampled_tells_the_loss_of_the_gates_of_the_step() -> None:
    outer = Outer()
    told = Sampled().explain(outer, None, WEIGHTS, START, lr=0.1)
    assert all(not bool(g.any()) for g in told.gradients) and told.names == ("a", "b", "s")
    ((gates, loss),) = told.samples
    assert loss == float(outer(WEIGHTS, START)) and torch.equal(gates["a"], torch.softmax(START[0], 0))
    assert len(outer.seen) == 2 and Sampled().passes == 1.0


def test_observed_adds_a_sample_to_what_another_finds() -> None:
    outer = Outer()
    plain = FirstOrder().explain(outer, outer, WEIGHTS, START, lr=0.1)
    told = Observed(FirstOrder()).explain(outer, outer, WEIGHTS, START, lr=0.1)
    assert all(torch.equal(a, b) for a, b in zip(plain.gradients, told.gradients, strict=True))
    assert replace(told, samples=(), names=()) == replace(
        plain, gradients=told.gradients, direct=told.direct, implicit=told.implicit
    )
    assert told.samples[0][1] == float(outer(WEIGHTS, START))
    assert Observed(Neumann(2)).passes == Neumann(2).passes + 1


@pytest.mark.parametrize("part", [Rebar(), Reinforce(), Sampled(), Observed(FirstOrder()), Relaxed()], ids=str)
def test_plain_callables_are_refused(part: Any) -> None:
    with pytest.raises(UsageError, match=f"{type(part).__name__} needs an outer loss with .*as the search loops give"):
        part(lambda w, a: w[0].sum(), lambda w, a: w[0].sum(), WEIGHTS, START, lr=0.1)


@pytest.mark.parametrize("part", [Rebar(), Reinforce(), Sampled(), Observed(FirstOrder())], ids=str)
def test_losses_that_are_not_finite_are_refused(part: Any) -> None:
    with pytest.raises(NonFiniteError):
        part(Outer(), Outer(), (torch.tensor([math.nan], dtype=F64),), START, lr=0.1)


def test_costs_in_passes() -> None:
    assert (Rebar(samples=3).passes, Reinforce(samples=3).passes, Relaxed().passes) == (12.0, 3.0, 6.0)


# --- the price of an architecture -----------------------------------------------------------------------------------


def test_the_hinge_is_the_cost_beyond_the_target() -> None:
    outer = Outer(costs=table)
    gates = Gates({"a": torch.tensor([1.0, 0, 0]), "b": torch.tensor([1.0, 0]), "s": torch.ones(2)})
    own = HingeCost(target=4.0, rate=2.0, unit="own")
    assert float(own.hard(gates, outer)) == pytest.approx(2.0 * (10 / 4 - 1))
    assert float(own.hard(gates | {"b": torch.tensor([0.0, 1.0])}, outer)) == 0.0  # exactly at the target
    mean = HingeCost(target=1.5, rate=1.0)
    assert float(mean.hard(gates, outer)) == pytest.approx(10 / (1.5 * (7 / 3 + 3)) - 1)
    for progress, share in ((0.0, 0.0), (0.2, 0.5), (0.4, 1.0), (0.9, 1.0)):
        early = Outer(costs=table, progress=progress)
        assert float(replace(own, ramp=0.4).hard(gates, early)) == pytest.approx(share * 3.0)
        assert float(replace(own, ramp=0.0).hard(gates, early)) == pytest.approx(3.0)


def test_its_soft_part_is_linear_beyond_the_target() -> None:
    outer, part = Outer(costs=table), HingeCost(target=4.0, rate=2.0, unit="own")
    a = torch.tensor([0.5, 0.25, 0.25], dtype=F64, requires_grad=True)
    gates = Gates({"a": a, "b": torch.tensor([0.5, 0.5], dtype=F64), "s": torch.ones(2, dtype=F64)})
    price = part.soft(gates, outer)
    assert float(price.detach()) == pytest.approx(2.0 * (5.75 / 4 - 1))
    assert torch.autograd.grad(price, a)[0].tolist() == pytest.approx([2.0, 0.5, 1.0])


def test_what_is_not_chosen_costs_nothing_below() -> None:
    space = Space([Choice("a", ("x", "y")), Choice("b", ("p", "q"), when=(("a", "y"),))])
    outer = Outer(
        names=("a", "b"), space=space, costs=lambda m: {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([8.0, 4.0])}
    )
    part = HingeCost(target=1.0, unit="own")
    for a, b, wanted in ((0, 0, 1.0), (1, 0, 10.0), (1, 1, 6.0)):
        gates = Gates({"a": torch.eye(2)[a], "b": torch.eye(2)[b]})
        assert float(part.hard(gates, outer)) == wanted - 1.0


def test_a_loss_without_costs_is_refused() -> None:
    with pytest.raises(UsageError, match="HingeCost needs an outer loss with .costs"):
        Rebar(cost=HingeCost())(Outer(), None, WEIGHTS, START, lr=0.1)
    with pytest.raises(UsageError, match="Reinforce.samples is 1; it must be a whole number at least 2"):
        Reinforce(samples=1)


def test_a_price_turns_the_search_to_cheap_architectures() -> None:
    """Plain descent along Rebar: the dear option is the best one, until it has a price."""
    for rate, wanted in ((0.0, 0), (20.0, 1)):
        outer, alphas = Outer(decay=0.0, costs=table), [torch.zeros(3, dtype=F64), torch.zeros(2, dtype=F64), START[2]]
        part = Rebar(cost=HingeCost(target=1.0, rate=rate))
        for step in range(300):
            outer.seed = step
            found = part(outer, None, (torch.tensor([-0.5], dtype=F64),), alphas, lr=0.1)
            alphas = [a - 0.1 * g for a, g in zip(alphas, found, strict=True)]
        assert int(alphas[1].argmax()) == wanted


# --- two copies of the weights --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lifted:
    """A part of this file under the kit, whose losses are plain: alphas are gates, the twin is the weights."""

    part: Any

    def explain(self, outer: Any, inner: Any, weights: Any, alphas: Any, *, lr: float) -> Explanation:
        loss = _Plain(outer, tuple(map(str, range(len(alphas)))), weights)
        return self.part.explain(loss, inner, weights, alphas, lr=lr)

    def __call__(self, outer: Any, inner: Any, weights: Any, alphas: Any, *, lr: float) -> Any:
        return self.explain(outer, inner, weights, alphas, lr=lr).told()


@dataclass
class _Plain:
    loss: Any
    names: tuple[str, ...]
    twin: Any

    def gates(self, alphas: Sequence[Tensor]) -> Gates:
        return Gates(dict(zip(self.names, alphas, strict=True)))

    def under(self, weights: Any, gates: Gates, alphas: Any) -> Tensor:
        return self.loss(weights, tuple(gates[n] for n in self.names))

    def __call__(self, weights: Any, alphas: Any) -> Tensor:
        return self.loss(weights, alphas)


def both_halves(part: Any, problem: Any, w: Tensor, a: Tensor, lr: float) -> Tensor:
    return part.part.rate * problem.single(w, a) + problem.direct(a)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (Observed(FirstOrder()), "direct"),
        (Sampled(), lambda part, problem, w, a, lr: torch.zeros_like(a)),
        (Relaxed(rate=0.7), both_halves),
        (Relaxed(rate=0.0), "direct"),
    ],
    ids=["observed", "sampled", "relaxed", "relaxed at 0"],
)
def test_the_kit(part: Any, kind: Any) -> None:
    check_hypergradient(Lifted(part), kind=kind)


def toy_outer(y: Any, a: Any) -> Tensor:
    return (a[0] * y[0] - 2 * a[0] + 1).sum()


def toy_inner(w: Any, a: Any) -> Tensor:
    return (w[0].square() - 2 * a[0] * w[0] + a[0].square()).sum()


@pytest.mark.parametrize(("tie", "rate", "steps"), [(1.0, 0.2, 400), (10.0, 0.02, 1500)])
def test_three_descents_come_to_rest_at_the_known_point(tie: float, rate: float, steps: int) -> None:
    """Gauss–Seidel on DARTS' toy with λ = β = tie: w on L1, y on L2, then alpha at both."""
    w, y, a, part = 0.5, 1.5, 0.0, Relaxed(rate=tie)
    for _ in range(steps):
        w -= rate * (tie * (2 * w - 2 * a) + tie * (w - y))
        y -= rate * (a + tie * (y - w))
        point = [torch.tensor([v], dtype=F64) for v in (w, y, a)]
        outer = _Plain(toy_outer, ("a",), (point[1],))
        a -= rate * float(part(outer, toy_inner, (point[0],), (point[2],), lr=0.1)[0])
    assert a == pytest.approx(2 / (2 - 1 / (2 * tie) - 1 / tie), abs=1e-9)
    assert a == pytest.approx({1.0: 4.0, 10.0: 1.081081}[tie], abs=1e-6)
