"""Outer updates: the laws of all, Adam, bandits, least squares, and the reduction of options."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from mimar.core.errors import UsageError
from mimar.core.streams import stream
from mimar.gradient.hypergradient import Explanation
from mimar.gradient.update import Adam, ExponentialWeights, LeastSquares, Reduction
from mimar.gradient.update.picks import picks
from mimar.supernet import Gates
from mimar.testing.expect import identical, random_states

F64 = torch.float64
SIZES = (3, 3, 4)
NAMES = tuple("abc")
UPDATES = [
    Adam(),
    ExponentialWeights(),
    ExponentialWeights(rate=0.3),
    LeastSquares(),
    LeastSquares(trend=None, end=1.0),
    Reduction(Adam(), rounds=1),
    Reduction(LeastSquares(), rounds=1),
]


def one_hot(options: Sequence[int], sizes: Sequence[int], names: Sequence[str]) -> Gates:
    return Gates({n: torch.eye(m)[o] for n, m, o in zip(names, sizes, options, strict=True)})


def tried(
    options: Sequence[int], loss: float, sizes: Sequence[int] = SIZES, names: Sequence[str] = NAMES
) -> Explanation:
    zeros = tuple(torch.zeros(m) for m in sizes)
    return Explanation(zeros, zeros, zeros, samples=((one_hot(options, sizes, names), loss),), names=tuple(names))


def masks(sizes: Sequence[int], names: Sequence[str]) -> dict[str, Tensor]:
    """Return what FairRounds holds that an update looks at."""
    return {f"alive/{n}": torch.ones(m) for n, m in zip(names, sizes, strict=True)} | {"reduced": torch.zeros(())}


def scene(part: Any, seed: int) -> tuple[list[Tensor], dict[str, Tensor], list[Explanation]]:
    """Return alphas, what is held, and twelve things found, fresh."""
    rng = stream(seed, "scene")
    alphas = [torch.randn(m, generator=rng).requires_grad_() for m in SIZES]
    found = []
    for i in range(12):
        gradients = tuple(torch.randn(m, generator=rng) for m in SIZES)
        gates = one_hot([i % m for m in SIZES], SIZES, NAMES)
        loss = float(torch.rand((), generator=rng))
        found.append(Explanation(gradients, gradients, gradients, samples=((gates, loss),), names=NAMES))
    return alphas, part.keeps(alphas) | masks(SIZES, NAMES), found


@pytest.mark.parametrize("part", UPDATES, ids=str)
def test_updates_obey_their_laws(part: Any) -> None:
    alphas, held, found = scene(part, 0)
    places = {n: t.data_ptr() for n, t in held.items()} | {str(i): a.data_ptr() for i, a in enumerate(alphas)}
    shapes, state = {n: (t.shape, t.dtype) for n, t in held.items()}, random_states()
    assert all(not t.requires_grad for t in held.values())
    middle: list[Any] = []
    for i, one in enumerate(found):
        if i == 6:
            middle = [[a.detach().clone().requires_grad_() for a in alphas], {n: t.clone() for n, t in held.items()}]
        part.step(alphas, one, held, 12)
    assert {n: (t.shape, t.dtype) for n, t in held.items()} == shapes
    assert {n: t.data_ptr() for n, t in held.items()} | {str(i): a.data_ptr() for i, a in enumerate(alphas)} == places
    assert random_states() == state
    assert all(a.grad is None and a.requires_grad and a.is_leaf for a in alphas)
    assert all(bool(torch.isfinite(t).all()) for t in (*alphas, *held.values()))
    again, kept, untouched = scene(part, 0)
    assert list(kept) == list(held)
    for one in untouched:
        part.step(again, one, kept, 12)
    for one in found[6:]:  # a search that goes on from what it had saved
        part.step(*(middle[0], one, middle[1]), 12)
    for other in ((again, kept), middle):
        identical(other[0], alphas, f"{part} once more")
        identical(list(other[1].values()), list(held.values()), f"what {part} holds once more")
    for one, same in zip(found, untouched, strict=True):
        identical(one.gradients, same.gradients, f"the gradients after {part}")
    start = scene(part, 0)[0]
    assert any(not torch.equal(a, b) for a, b in zip(alphas, start, strict=True))


@pytest.mark.parametrize("part", [ExponentialWeights(), LeastSquares(), Reduction(Adam())], ids=str)
def test_updates_without_gradients_need_samples(part: Any) -> None:
    alphas, held, found = scene(part, 0)
    for bad in (
        Explanation(found[0].gradients, (), (), names=NAMES),
        Explanation(found[0].gradients, (), (), samples=found[0].samples),
    ):
        with pytest.raises(UsageError, match="learns from the losses|holds which options"):
            part.step(alphas, bad, held, 12)


def test_picks_are_the_largest_gates() -> None:
    gates = Gates({"a": torch.tensor([0.2, 0.5, 0.3]), "some": torch.ones(4), "b": torch.tensor([1.0, 0.0])})
    found = Explanation((), (), (), samples=((gates, 0.5), (gates, 0.25)), names=("b", "a"))
    assert list(picks(found, Adam())) == [([0, 1], 0.5), ([0, 1], 0.25)]


# --- Adam -----------------------------------------------------------------------------------------------------------


def along(*gradients: Tensor) -> Explanation:
    return Explanation(gradients, gradients, gradients)


def test_adam_travels_what_it_is_told() -> None:
    assert Adam(lr=3e-4, travel=3.0).rate(200) == pytest.approx(0.015)
    assert Adam(lr=3e-4, travel=3.0).rate(20_000) == 3e-4
    assert Adam(lr=3e-4, travel=0.0).rate(1) == 3e-4
    assert Adam(travel=3.0).rate(0) == 3.0
    for steps in (10, 200):
        part, alpha = Adam(), torch.zeros(3)
        held = part.keeps([alpha])
        for _ in range(steps):
            part.step([alpha], along(torch.tensor([1.0, -0.01, 0.0])), held, steps)
        torch.testing.assert_close(alpha, torch.tensor([-3.0, 3.0, 0.0]), rtol=1e-3, atol=0)
        assert alpha.grad is None


def test_adam_is_adam() -> None:
    ours, theirs = torch.ones(2), torch.ones(2, requires_grad=True)
    part = Adam(lr=0.1, travel=0.0)
    held, b = part.keeps([ours]), torch.optim.Adam([theirs], lr=0.1, betas=(0.5, 0.999))
    for i in range(5):
        g = torch.randn(2, generator=stream(i))
        part.step([ours], along(g), held, 100)
        theirs.grad = g
        b.step()
    assert torch.equal(ours, theirs.detach())


# --- bandits --------------------------------------------------------------------------------------------------------


def test_importance_weights_are_unbiased() -> None:
    """Σ over all draws of p(draw) · estimate is the expected loss given the option, for every option of every choice."""
    part, rng = ExponentialWeights(), stream(0, "table")
    table = torch.rand(SIZES, generator=rng, dtype=F64)
    start = [torch.randn(m, generator=rng, dtype=F64) for m in SIZES]
    p = [torch.softmax(a, 0) for a in start]
    sums = [torch.zeros(2, m, dtype=F64) for m in SIZES]
    for options in itertools.product(*map(range, SIZES)):
        alphas = [a.clone() for a in start]
        held = part.keeps(alphas)
        part.step(alphas, tried(options, float(table[options])), held, 10)
        chance = math.prod(float(q[o]) for q, o in zip(p, options, strict=True))
        for i, total in enumerate(sums):
            total += chance * torch.stack([held[f"exponential/{i}/losses"], held[f"exponential/{i}/draws"]])
    wanted = [
        torch.einsum("abc,b,c->a", table, p[1], p[2]),
        torch.einsum("abc,a,c->b", table, p[0], p[2]),
        torch.einsum("abc,a,b->c", table, p[0], p[1]),
    ]
    for found, losses in zip(sums, wanted, strict=True):
        torch.testing.assert_close(found[0], losses, rtol=1e-12, atol=0)
        torch.testing.assert_close(found[1], torch.ones_like(losses), rtol=1e-12, atol=0)


def test_exponential_weights_by_hand() -> None:
    part = ExponentialWeights(rate=0.5)
    alphas = [torch.zeros(2, dtype=F64)]
    held = part.keeps(alphas)
    part.step(alphas, tried([0], 3.0, (2,), "a"), held, 10)
    assert alphas[0].tolist() == [0.0, 0.0]  # one loss has no range yet
    part.step(alphas, tried([1], 1.0, (2,), "a"), held, 10)
    assert alphas[0].tolist() == [
        -0.5 * 2.0,
        0.0,
    ]  # losses 1 and 0 of the range [1, 3], each over a probability of a half
    part.step(alphas, tried([1], 2.0, (2,), "a"), held, 10)
    second = 0.5 / (1 / (1 + math.exp(-1.0)))
    assert alphas[0].tolist() == pytest.approx([-0.5 * (2.0 - second), 0.0])
    horizon = [torch.zeros(2, dtype=F64)]
    held = ExponentialWeights().keeps(horizon)
    for option, loss in ((0, 3.0), (1, 1.0)):
        ExponentialWeights().step(horizon, tried([option], loss, (2,), "a"), held, 50)
    assert horizon[0].tolist() == pytest.approx([-2.0 * math.sqrt(math.log(2) / (2 * 50)), 0.0])


def play(
    part: Any, edges: int, options: int, rounds: int, seed: int = 0, noise: float = 0.0
) -> tuple[float, float, bool]:
    """Sample from softmax(α) on additive losses; return (regret, largest loss − smallest, whether the best are found)."""
    rng = stream(seed, "play")
    cost = torch.rand(edges, options, generator=rng, dtype=F64)
    alphas, names = [torch.zeros(options) for _ in range(edges)], tuple(map(str, range(edges)))
    held, rows, regret = part.keeps(alphas), torch.arange(edges), 0.0
    for _ in range(rounds):
        drawn = torch.multinomial(torch.softmax(torch.stack(alphas).double(), 1), 1, generator=rng)[:, 0]
        loss = float(cost[rows, drawn].sum())
        regret += loss - float(cost.min(1).values.sum())
        loss += noise * float(torch.randn((), generator=rng))
        part.step(alphas, tried(drawn.tolist(), loss, [options] * edges, names), held, rounds)
    width = float((cost.max(1).values - cost.min(1).values).sum())
    return regret, width, bool((torch.stack(alphas).argmax(1) == cost.argmin(1)).all())


@pytest.mark.parametrize("seed", range(2))
def test_bandits_have_the_regret_of_their_bound(seed: int) -> None:
    """At most 1.5 · width · √(T n ln n) for each agent, where a uniform draw would have grown with T."""
    for rounds in (1000, 4000):
        regret, width, found = play(ExponentialWeights(), 3, 3, rounds, seed)
        assert regret <= 1.5 * 3 * width * math.sqrt(rounds * 3 * math.log(3))
    assert found and regret < 0.25 * 0.5 * width * rounds


def test_least_squares_find_the_best_options_of_an_additive_problem() -> None:
    """14 edges of 8 options; uniform draws have a regret of 86 √T, then 170 √T."""
    rates = []
    for rounds in (250, 1000):
        regret, _, found = play(LeastSquares(trend=None), 14, 8, rounds)
        rates.append(regret / math.sqrt(rounds))
    assert found and rates[1] < rates[0] < 40
    regret, _, found = play(LeastSquares(trend=None), 4, 3, 1500, noise=0.3)
    assert found and regret / math.sqrt(1500) < 8


def test_least_squares_by_hand() -> None:
    part, rng = LeastSquares(ridge=0.5, start=4.0, end=0.1, trend=None), stream(0)
    alphas = [torch.zeros(m, dtype=F64) for m in SIZES]
    held, rows, rewards = part.keeps(alphas), [], []
    for _ in range(30):
        options = [int(torch.randint(m, (), generator=rng)) for m in SIZES]
        loss = float(torch.rand((), generator=rng))
        part.step(alphas, tried(options, loss), held, 30)
        rows.append(torch.cat([torch.eye(m, dtype=F64)[o] for m, o in zip(SIZES, options, strict=True)]))
        rewards.append(-loss)
    x, r = torch.stack(rows), torch.tensor(rewards, dtype=F64)
    b = torch.linalg.solve(x.T @ x + 0.5 * torch.eye(10, dtype=F64), x.T @ (r - r.mean())).split(SIZES)
    centred = [part - part.mean() for part in b]
    scale = torch.cat(centred).square().mean().sqrt() * 4.0 / math.sqrt(30)
    for alpha, wanted in zip(alphas, centred, strict=True):
        torch.testing.assert_close(alpha, wanted / scale, rtol=1e-9, atol=0)


def test_a_falling_loss_is_no_merit_of_late_options() -> None:
    """Option 1 is tried late, when all losses are small; by comparison with its neighbours in time it is the worse one."""
    found = {}
    for trend in (0.5, None):
        part, alphas = LeastSquares(trend=trend), [torch.zeros(2, dtype=F64)]
        held = part.keeps(alphas)
        for t in range(60):
            option = int(t % 10 == 9) if t < 30 else int(t % 10 != 9)
            part.step(alphas, tried([option], 10 * 0.9**t + 0.2 * option, (2,), "a"), held, 60)
        found[trend] = int(alphas[0].argmax())
    assert found == {0.5: 0, None: 1}


def test_exploration_ends() -> None:
    part = LeastSquares(trend=None, start=4.0, end=0.5)
    alphas, spreads = [torch.zeros(3, dtype=F64)], []
    held = part.keeps(alphas)
    for t in range(100):
        part.step(alphas, tried([t % 3], float(t % 3), (3,), "a"), held, 100)
        spreads.append(float(alphas[0].square().mean().sqrt()))
    wanted = [1 / max(0.5, 4.0 / math.sqrt(t)) for t in range(3, 101)]
    assert spreads[2:] == pytest.approx(wanted)


# --- reduction ------------------------------------------------------------------------------------------------------


@dataclass
class Fair:
    """Every alive option of a choice once a round, in the order of a stream."""

    held: dict[str, Tensor]
    rng: torch.Generator
    left: dict[str, list[int]] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)

    def draw(self, names: Sequence[str]) -> list[int]:
        options = []
        for name in names:
            alive = self.held[f"alive/{name}"]
            if not self.left.get(name):
                order = torch.randperm(len(alive), generator=self.rng).tolist()
                self.left[name] = [o for o in order if alive[o] > 0]
            options.append(self.left[name].pop())
            self.counts.setdefault(name, [0] * len(alive))[options[-1]] += 1
        return options


@pytest.mark.parametrize("mix", [0.0, 0.5])
def test_reduction_abandons_the_worst_option_of_each_choice_a_stage(mix: float) -> None:
    sizes, part = (5, 5, 5), Reduction(Adam(travel=0.0), rounds=3, keep=2, mix=mix)
    cost = torch.rand(3, 5, generator=stream(0, "cost"), dtype=F64)
    alphas = [torch.zeros(5) for _ in sizes]
    held = part.keeps(alphas) | masks(sizes, NAMES)
    fair, stages = Fair(held, stream(1)), []
    while not bool(held["reduced"]):
        before = [held[f"alive/{n}"].clone() for n in NAMES]
        options = fair.draw(NAMES)
        loss = float(sum(cost[i, o] for i, o in enumerate(options)))
        part.step(alphas, tried(options, loss, sizes), held, 100)
        if any(not torch.equal(a, held[f"alive/{n}"]) for a, n in zip(before, NAMES, strict=True)):
            stages.append([int(held[f"alive/{n}"].sum()) for n in NAMES])
            for name, alive in zip(NAMES, before, strict=True):
                assert fair.counts[name] == [3 if a > 0 else 0 for a in alive]  # survivors: exactly `rounds` times
                dropped = (alive - held[f"alive/{name}"]).nonzero().ravel().tolist()
                assert len(dropped) == 1
            fair.counts.clear()
    assert stages == [[4] * 3, [3] * 3, [2] * 3]
    assert float(held["reduction/steps"]) == 3 * (5 + 4 + 3)
    assert all(bool((a == 0).all()) for a in alphas)
    gradients = tuple(torch.ones(5) for _ in sizes)
    part.step(alphas, Explanation(gradients, gradients, gradients, names=NAMES), held, 100)
    assert all(bool((a < 0).all()) for a in alphas)


def full(part: Reduction, table: Tensor) -> dict[str, Tensor]:
    """Return what is held after one stage over all combinations of two choices of three options."""
    alphas = [torch.zeros(3), torch.zeros(3)]
    held = part.keeps(alphas) | masks((3, 3), "ab")
    for a, b in itertools.product(range(3), range(3)):
        part.step(alphas, tried([a, b], float(table[a, b]), (3, 3), "ab"), held, 100)
    return held


def test_the_worst_option_of_an_additive_problem_goes_first() -> None:
    table = torch.tensor([0.0, 0.2, 0.1])[:, None] + torch.tensor([0.3, 0.0, 0.1])[None]
    held = full(Reduction(Adam(), rounds=3, keep=1), table)
    assert held["alive/a"].tolist() == [1, 0, 1] and held["alive/b"].tolist() == [0, 1, 1]
    assert not bool(held["reduced"])
    assert bool(full(Reduction(Adam(), rounds=3, keep=2), table)["reduced"])


def test_a_stage_forgets_the_one_before_and_the_abandoned() -> None:
    """Losses below zero, so that an abandoned option's empty record would look worst; the second stage contradicts the first."""
    part, alphas = Reduction(Adam(), rounds=1, keep=1, mix=0.0), [torch.zeros(3)]
    held = part.keeps(alphas) | masks((3,), "a")
    for option, loss in ((0, -5.0), (1, -1.0), (2, -9.0)):
        part.step(alphas, tried([option], loss, (3,), "a"), held, 10)
    assert held["alive/a"].tolist() == [1, 0, 1]
    for option, loss in ((2, -4.0), (0, -5.0)):
        part.step(alphas, tried([option], loss, (3,), "a"), held, 10)
    assert held["alive/a"].tolist() == [1, 0, 0] and bool(held["reduced"])


def test_options_that_were_tried_less_are_spared() -> None:
    for mix, dropped in ((0.0, 0), (1.0, 1)):
        part, alphas = Reduction(Adam(), rounds=1, mix=mix), [torch.zeros(3)]
        held = part.keeps(alphas) | masks((3,), "a")
        for option, loss in ((1, 0.1), (1, 0.1), (1, 0.1), (0, 0.5), (2, 0.3)):
            part.step(alphas, tried([option], loss, (3,), "a"), held, 10)
        assert held["alive/a"].tolist() == [float(o != dropped) for o in range(3)]


def test_gradient_steps_after_the_reduction_know_how_many_are_left() -> None:
    part, alphas = Reduction(Adam(lr=1e-4, travel=3.0), rounds=1), [torch.zeros(3)]
    held = part.keeps(alphas) | masks((3,), "a")
    for option in range(3):
        part.step(alphas, tried([option], float(option), (3,), "a"), held, 13)
    part.step(alphas, Explanation((torch.ones(3),), (), (), names=("a",)), held, 13)
    assert alphas[0].tolist() == pytest.approx([-0.3] * 3)


def test_reduction_needs_a_relaxation_that_knows_what_is_alive() -> None:
    part = Reduction(Adam())
    with pytest.raises(UsageError, match="FairRounds; 'alive/a' is not held"):
        part.step([torch.zeros(3)], tried([0], 0.0, (3,), "a"), part.keeps([torch.zeros(3)]), 10)
