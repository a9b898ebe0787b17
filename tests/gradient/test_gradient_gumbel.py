"""Sampled relaxations: soft and hard Gumbel samples, plain categories."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar import nets
from mimar.core.streams import isolated, stream
from mimar.gradient.relax import Categorical, Context, Gumbel, GumbelHard, concrete_log_density
from mimar.gradient.relax.sampling import annealed, gumbel
from mimar.space import Architecture, Choice, Space
from mimar.supernet import Fused, Reference, Supernet, extract

SPACE = Space([Choice("a", ("x", "y", "z"))])
ALPHA = torch.tensor([0.4, -0.7, 1.1], dtype=torch.float64)


def gates(part: Any, alpha: Tensor, seed: int, progress: float = 0.0, **more: Any) -> tuple[Any, Context]:
    ctx = Context(SPACE, progress, stream(seed, "gates"), **more)
    return part.gates({"a": alpha}, ctx), ctx


# --- noise and temperature ------------------------------------------------------------------------------------------


def test_the_largest_of_noisy_logits_has_the_frequencies_of_the_softmax() -> None:
    noisy = ALPHA + gumbel(torch.zeros(200_000, 3, dtype=torch.float64), stream(3, "draws"))
    found = torch.bincount(noisy.argmax(1), minlength=3) / 200_000
    assert torch.allclose(found.double(), torch.softmax(ALPHA, 0), atol=0.003)


def test_noise_has_the_mean_and_variance_of_gumbel_and_is_the_same_in_every_type() -> None:
    noise = gumbel(torch.zeros(200_000, dtype=torch.float64), stream(0))
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(noise.var()) == pytest.approx(math.pi**2 / 6, rel=0.02)
    assert torch.equal(
        gumbel(torch.zeros(7), stream(0)), gumbel(torch.zeros(7, dtype=torch.float64), stream(0)).float()
    )


def test_temperatures_fall_over_the_whole_search() -> None:
    assert [annealed(1.0, 0.03, t) for t in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.515, 0.03])
    assert [annealed(1.0, 0.01, t, "exponential") for t in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.1, 0.01])
    assert [annealed(10.0, 0.1, t) for t in (0.0, 0.25, 1.0)] == pytest.approx([10.0, 7.525, 0.1])


# --- soft -----------------------------------------------------------------------------------------------------------


def test_the_concrete_density_integrates_to_one() -> None:
    """n = 2, τ = 0.7: over z in (1e-6, 1 − 1e-6), whose margins hold the rest."""
    alpha = torch.tensor([0.3, -0.2], dtype=torch.float64)
    logit = torch.linspace(-13.8, 13.8, 20_001, dtype=torch.float64)
    z = torch.stack([torch.sigmoid(logit), torch.sigmoid(-logit)], dim=-1)
    density = concrete_log_density(z, alpha, 0.7).exp()
    assert float(torch.trapezoid(density, z[:, 0])) == pytest.approx(0.9999, abs=1.01e-4)


def test_the_density_of_two_options_is_that_of_a_logistic_number() -> None:
    alpha = torch.tensor([0.3, -0.2], dtype=torch.float64)
    for z in (0.01, 0.5, 0.9):
        x = 0.7 * math.log(z / (1 - z))  # = the gap of the noisy logits, logistic around the gap of the alphas
        s = 1 / (1 + math.exp(-(x - 0.5)))
        wanted = math.log(s * (1 - s) * 0.7 / (z * (1 - z)))
        at = torch.tensor([z, 1 - z], dtype=torch.float64)
        assert float(concrete_log_density(at, alpha, 0.7)) == pytest.approx(wanted, rel=1e-9)


def test_soft_samples_are_the_softmax_of_noisy_alphas_at_the_present_temperature() -> None:
    for progress, tau in ((0.0, 1.0), (0.5, 0.515), (1.0, 0.03)):
        found, _ = gates(Gumbel(), ALPHA, 5, progress)
        wanted = torch.softmax((ALPHA + gumbel(ALPHA, stream(5, "gates"))) / tau, 0)
        assert torch.allclose(found["a"], wanted, rtol=1e-12, atol=0)
        assert not found.active
    assert torch.equal(gates(Gumbel(), ALPHA, 5, training=False)[0]["a"], torch.softmax(ALPHA, 0))


def test_soft_samples_leave_their_density() -> None:
    alpha = ALPHA.clone().requires_grad_()
    found, ctx = gates(Gumbel(), alpha, 2, 0.5)
    density = ctx.memo["density"]["a"]
    wanted = concrete_log_density(found["a"].detach(), alpha, 0.515)
    assert density.item() == pytest.approx(wanted.item(), rel=1e-10)
    (one,), (other,) = torch.autograd.grad(density, alpha), torch.autograd.grad(wanted, alpha)
    assert torch.allclose(one, other, rtol=1e-10)  # the score: z is held fixed
    cold, ctx = gates(Gumbel(end=1e-3), ALPHA.float() * 9, 2, 1.0)
    assert 0.0 in cold["a"].tolist() and math.isfinite((ctx.memo["density"]["a"]).item())  # z has come to 0 there


def test_the_mean_score_is_zero() -> None:
    alpha = ALPHA.clone().requires_grad_()
    scores = []
    for i in range(3000):
        _, ctx = gates(Gumbel(), alpha, i, 0.3)
        scores.append(torch.autograd.grad(ctx.memo["density"]["a"], alpha)[0])
    mean, spread = torch.stack(scores).mean(0), torch.stack(scores).std(0)
    assert bool((mean.abs() < 4 * spread / math.sqrt(3000)).all()) and float(spread.min()) > 0.1


# --- hard -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [GumbelHard(), Categorical()])
def test_drawn_options_have_the_frequencies_of_the_softmax(part: Any) -> None:
    many = {f"c{i}": ALPHA for i in range(20_000)}
    ctx = Context(SPACE, 0.5, stream(11, "gates"))
    found = part.gates(many, ctx)
    drawn = torch.stack([g.detach() for g in found.values()])
    assert torch.equal(drawn.sum(1), torch.ones(20_000, dtype=torch.float64)) and set(drawn.unique().tolist()) == {
        0.0,
        1.0,
    }
    assert torch.allclose(drawn.mean(0), torch.softmax(ALPHA, 0), atol=0.01)
    assert [found.active[n].index(True) for n in found] == drawn.argmax(1).tolist()
    assert all(sum(active) == 1 for active in found.active.values())


def test_hard_gates_are_the_largest_of_the_soft_ones() -> None:
    for seed in range(20):
        soft = torch.softmax((torch.log_softmax(ALPHA, 0) + gumbel(ALPHA, stream(seed, "gates"))) / 10, 0)
        found, _ = gates(GumbelHard(), ALPHA, seed)
        assert torch.equal(found["a"], nn.functional.one_hot(soft.argmax(), 3).double())


@pytest.mark.parametrize(("progress", "tau"), [(0.0, 10.0), (0.5, 5.05), (1.0, 0.1)])
def test_the_gradient_of_hard_gates_is_that_of_the_drawn_option_through_the_soft_sample(
    progress: float, tau: float
) -> None:
    credit = torch.tensor([0.7, -1.3, 2.1], dtype=torch.float64)  # ∂L/∂h
    for seed in range(6):
        alpha = ALPHA.clone().requires_grad_()
        found, _ = gates(GumbelHard(), alpha, seed, progress)
        (slope,) = torch.autograd.grad(found["a"] @ credit, alpha)
        y = torch.softmax((torch.log_softmax(ALPHA, 0) + gumbel(ALPHA, stream(seed, "gates"))) / tau, 0)
        jacobian = (torch.diag(y) - torch.outer(y, y)) / tau  # of softmax(log softmax(α) + G): that of softmax(α + G)
        wanted = jacobian @ (found["a"].detach() * credit)
        assert torch.allclose(slope, wanted, rtol=1e-9, atol=1e-14) and float(wanted.norm()) > 0


@pytest.mark.parametrize("engine", [Reference(), Fused()], ids=["reference", "fused"])
@pytest.mark.parametrize("part", [GumbelHard(), Categorical()], ids=["hard", "categorical"])
@pytest.mark.parametrize("net", ["nasbench201-small", "darts-small:channels=2,nodes=2"])
def test_a_drawn_path_gives_what_the_network_of_this_path_gives(net: str, part: Any, engine: Any) -> None:
    with isolated(0):
        model = nets.named(net, in_channels=1, classes=3)
    supernet = Supernet(model, engine=engine)
    x = torch.randn(4, 1, 8, 8, generator=stream(1))
    alphas = {n: a.requires_grad_() for n, a in part.init(supernet.space, stream(2)).items()}
    for seed in range(3):
        found = part.gates(alphas, Context(supernet.space, 0.5, stream(seed, "gates")))
        y = supernet.call(supernet.weights, found, x)
        values = {n: supernet.space[n].options[found.active[n].index(True)] for n in alphas}
        some = {c.name: c.options for c in supernet.space.choices if c.kind == "some"}
        single = {n: nn.functional.one_hot(g.detach().argmax(), len(g)).to(g) for n, g in found.items() if n in alphas}
        single |= {n: torch.ones(len(options)) for n, options in some.items()}
        assert torch.equal(y, supernet.call(supernet.weights, single, x))  # to the last bit
        if not some:
            alone = extract(model, Architecture(values)).train()(x)
            assert torch.equal(y, alone) if isinstance(engine, Reference) else torch.allclose(y, alone, atol=1e-5)


@pytest.mark.parametrize("part", [GumbelHard(), Categorical(), Gumbel()])
def test_the_log_probability_is_that_of_the_drawn_option(part: Any) -> None:
    for seed in range(5):
        alpha = ALPHA.clone().requires_grad_()
        found, ctx = gates(part, alpha, seed, 0.5)
        option = int(found["a"].detach().argmax())
        logprob = ctx.memo["logprob"]["a"]
        assert logprob.item() == pytest.approx(float(torch.log_softmax(ALPHA, 0)[option]))
        (slope,) = torch.autograd.grad(logprob, alpha)
        wanted = nn.functional.one_hot(torch.tensor(option), 3) - torch.softmax(ALPHA, 0)
        assert torch.allclose(slope, wanted)
        if isinstance(part, Categorical):
            assert not found["a"].requires_grad
