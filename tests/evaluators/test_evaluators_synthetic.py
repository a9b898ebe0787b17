"""Learned data: the meta-gradient against closed forms, plain unrolling and differences; ratings by what was learned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mimar import Architecture
from mimar.core.errors import UsageError
from mimar.core.streams import derive, stream
from mimar.core.trees import Tensors
from mimar.evaluators.synthetic import LATENTS, LR, Synthetic, Teacher
from mimar.evaluators.taught import Learner, Taught, lesson
from mimar.evaluators.unroll import descent, unrolled
from mimar.strategies import Measurement, Proposal, Trial
from mimar.supernet import chosen
from mimar.tasks import Batch
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import tiny_task

ARCH = Architecture({"body": "conv", "node": ("1", "2")})
SMALL = Teacher(steps=5, batch=8, noise=3, width=2, every=2, checkpoint=2)


class Doubles:
    """The tiny task in float64, for the model in float64."""

    def __init__(self) -> None:
        self.bound = tiny_task().split(0)
        self.task = self.bound.task

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bound, name)

    def sample(self, split: str, rng: torch.Generator, **options: Any) -> Batch:
        batch = self.bound.sample(split, rng, **options)
        return Batch(batch.x.double(), batch.y)


def learned(teacher: Teacher) -> dict[str, Tensor]:
    return {n: t.double() for n, t in teacher.start(tiny_task(), stream(3)).items()}


def taught(teacher: Teacher, outer: dict[str, Tensor]) -> Any:
    data = Doubles()
    learner = Learner(tiny_model(), ARCH, data, derive(7))
    return lesson(teacher, outer, learner, lambda t: data.sample("train", stream(1, t), size=16))


def plain(teacher: Teacher, outer: dict[str, Tensor]) -> tuple[Tensor, Tensors]:
    """The same lesson written out: torch's own autograd through one graph of the whole training."""
    data = Doubles()
    net = chosen(tiny_model(), ARCH, fresh=stream(derive(7), "weights")).net.train()
    learner = Learner(tiny_model(), ARCH, data, derive(7))
    a = {n: t.clone().requires_grad_() for n, t in outer.items()}
    w = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert all(torch.equal(p, q) for p, q in zip(w, learner.net.weights, strict=True))
    v, losses = [torch.zeros_like(p) for p in w], []
    for t in range(teacher.steps):
        made = Synthetic(teacher, a, data.task, derive(7))
        loss = learner.loss(tuple(w), made.batch(t), "inner", t)
        g = torch.autograd.grad(loss, w, create_graph=True)
        eta, mu = a["lr"][t].exp().log1p(), 1 / (1 + (-a["momentum"][t]).exp())
        v = [mu * p + q for p, q in zip(v, g, strict=True)]
        w = [p - eta * q for p, q in zip(w, v, strict=True)]
        if t + 1 in (2, 4, 5):
            real = data.sample("train", stream(1, t + 1), size=16)
            losses.append(learner.loss(tuple(w), real, "outer", t + 1))
    total = torch.stack(losses).mean()
    return total.detach(), torch.autograd.grad(total, list(a.values()))


def near(ours: Tensors, theirs: Tensors, relative: float) -> None:
    for x, y in zip(ours, theirs, strict=True):
        assert float((x - y).norm()) <= relative * float(y.norm())


# --- the meta-gradient ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("segment", [0, 1, 2, 4, 7])
def test_checkpointed_gradient_is_that_of_one_graph(segment: int) -> None:
    part, outer = replace(SMALL, checkpoint=segment), learned(SMALL)
    found, (total, gradients) = taught(part, outer), plain(part, outer)
    assert list(found.losses) == [2, 4, 5]
    assert sum(found.losses.values()) / 3 == pytest.approx(float(total), rel=1e-12)
    near(found.gradients, gradients, 1e-10)
    assert all(float(g.norm()) > 1e-9 for g in found.gradients)  # G, latents, learning rates and momenta all learn


def test_checkpointed_gradient_in_single_precision() -> None:
    data, outer = tiny_task().split(0), SMALL.start(tiny_task(), stream(3))
    learner = Learner(tiny_model().float(), ARCH, data, 4)
    whole, cut = (
        lesson(replace(SMALL, checkpoint=n), outer, learner, lambda t: data.sample("train", stream(1, t), size=16))
        for n in (0, 2)
    )
    near(cut.gradients, whole.gradients, 1e-6)


def test_only_segments_are_kept_and_only_the_last_runs_once() -> None:
    calls = []

    def step(t: int, state: Tensors, outer: Tensors) -> Tensors:
        calls.append((t, torch.is_grad_enabled()))
        return (state[0] + outer[0],)

    unrolled(step, lambda t, s, _: s[0].sum() if t == 7 else None, (torch.zeros(1),), (torch.ones(1),), 7, 3)
    forward, back = [t for t, graph in calls if not graph], [t for t, graph in calls if graph]
    assert forward == [0, 1, 2, 3, 4, 5] and back == [6, 3, 4, 5, 0, 1, 2]
    assert replace(SMALL, steps=7, checkpoint=3).twice == 6 and replace(SMALL, checkpoint=0).twice == 0


@pytest.mark.parametrize("segment", [0, 1, 3])
def test_learned_rate_gets_the_analytic_gradient_on_a_quadratic(segment: int) -> None:
    bend, centre, start, eta, n = 1.7, 0.4, 2.0, 0.11, 7
    rate = torch.tensor(eta, dtype=torch.float64)
    step = descent(lambda t, w, a: 0.5 * bend * (w[0] - centre).square(), lambda t, a: (a[0], torch.zeros_like(a[0])))

    def loss(t: int, state: Tensors, _: Tensors) -> Tensor | None:
        return 0.5 * state[0].square() if t == n else None

    first = torch.tensor(start, dtype=torch.float64)
    found = unrolled(step, loss, (first, torch.zeros_like(first)), (rate,), n, segment)
    shrunk = 1 - eta * bend
    last = centre + shrunk**n * (start - centre)
    slope = last * -bend * n * shrunk ** (n - 1) * (start - centre)
    assert found.losses == {n: pytest.approx(0.5 * last**2, rel=1e-14)}
    assert float(found.gradients[0]) == pytest.approx(slope, rel=1e-12)
    assert float(found.state[0]) == pytest.approx(last, rel=1e-14)


def test_learned_momentum_and_rates_agree_with_differences() -> None:
    outer = learned(SMALL)
    found = dict(zip(outer, taught(SMALL, outer).gradients, strict=True))
    assert float(found["momentum"][0]) == 0.0  # the first velocity is the gradient, whatever the momentum

    def at(name: str, index: tuple[int, ...], shift: float) -> float:
        moved = {n: t.clone() for n, t in outer.items()}
        moved[name][index] += shift
        losses = taught(SMALL, moved).losses
        return sum(losses.values()) / len(losses)

    for name, index in [("momentum", (1,)), ("momentum", (3,)), (LR, (0,)), (LR, (4,)), (LATENTS, (1, 3, 2))]:
        h = 1e-5
        difference = (at(name, index, h) - at(name, index, -h)) / (2 * h)
        assert float(found[name][index]) == pytest.approx(difference, rel=1e-5, abs=1e-9), name


# --- the data -------------------------------------------------------------------------------------------------------


def test_rates_begin_where_they_are_told() -> None:
    given = Synthetic(SMALL, SMALL.start(tiny_task(), stream(0)), tiny_task())
    for t in range(SMALL.steps):
        lr, momentum = given.rates(t)
        assert float(lr) == pytest.approx(SMALL.lr, rel=1e-5) and float(momentum) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 1, 40), (2, 5, 7)])
def test_images_have_the_shape_of_the_task_and_labels_go_round(shape: tuple[int, ...]) -> None:
    class Other:
        classes = 3

    Other.shape = shape  # type: ignore[attr-defined]
    made = [Synthetic(SMALL, SMALL.start(Other, stream(0)), Other).batch(t) for t in (0, 1)]  # type: ignore[arg-type]
    assert made[0].x.shape == (8, *shape) and float(made[0].x.abs().max()) <= 2.0
    assert torch.cat([b.y for b in made]).tolist() == [i % 3 for i in range(16)]


def test_noise_is_drawn_anew_for_every_learner_unless_it_is_learned() -> None:
    part = replace(SMALL, curriculum=False)
    outer = part.start(tiny_task(), stream(0))
    assert LATENTS in SMALL.start(tiny_task(), stream(0)) and LATENTS not in outer
    one, again, other = (Synthetic(part, outer, tiny_task(), n).batch(1).x for n in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_imitated_images_have_the_labels_of_the_batch() -> None:
    made = Synthetic(SMALL, SMALL.start(tiny_task(), stream(0)), tiny_task())
    x, y = made.batch(2)
    grey = torch.tensor([0.0, 1.0, 2.0, 3.0])
    real = Batch(grey.view(-1, 1, 1, 1).expand(-1, 1, 5, 5), torch.arange(4))
    wanted = torch.nn.functional.mse_loss(x, real.x[y])
    assert float(made.distance(2, real)) == pytest.approx(float(wanted))


def test_due_counts_the_end_and_every_so_many_steps() -> None:
    assert [t for t in range(1, 6) if SMALL.due(t)] == [2, 4, 5]
    assert [t for t in range(1, 6) if replace(SMALL, every=0).due(t)] == [5]


def test_wrong_options_are_refused() -> None:
    for wrong in ({"momentum": 1.0}, {"lr": 0.0}, {"steps": 0}, {"batch": 1}):
        with pytest.raises(UsageError):
            replace(SMALL, **wrong)


# --- ratings --------------------------------------------------------------------------------------------------------


def rater(outer: dict[str, Tensor] | None = None, **more: Any) -> Taught:
    outer = outer or SMALL.start(tiny_task(), stream(0))
    return Taught(SMALL, outer, tiny_model().float(), tiny_task().split(0), **more)


def test_rating_is_repeatable_pure_and_what_a_strategy_is_told() -> None:
    outer = SMALL.start(tiny_task(), stream(0))
    before, state = {n: t.clone() for n, t in outer.items()}, torch.get_rng_state()
    first, again = (rater(outer).evaluate(Proposal(ARCH)) for _ in range(2))
    assert first == again == rater(outer).evaluate(ARCH)
    assert first.status == "ok" and set(first.metrics) == {"accuracy", "loss"}
    assert rater(outer, seed=1).evaluate(ARCH) != first and rater(outer).evaluate(ARCH, rng=stream(8)) != first
    assert torch.equal(state, torch.get_rng_state()) and all(torch.equal(t, before[n]) for n, t in outer.items())
    Trial(Proposal(ARCH), Measurement(first.metrics, first.cost, first.status))


def test_fidelity_is_the_share_of_the_steps() -> None:
    whole, part = (rater().evaluate(ARCH, fidelity) for fidelity in (None, 0.4))
    assert part.cost < whole.cost and part.metrics != whole.metrics
    assert rater().evaluate(ARCH, 1.0) == whole
    for wrong in (0.0, 1.5, math.nan):
        with pytest.raises(UsageError, match="fidelity"):
            rater().evaluate(ARCH, wrong)


def test_learner_that_diverges_has_failed() -> None:
    outer = SMALL.start(tiny_task(), stream(0))
    outer[LR] = torch.full_like(outer[LR], math.inf)
    found = rater(outer).evaluate(ARCH)
    assert found.status == "failed" and found.metrics == {} and found.cost > 0
