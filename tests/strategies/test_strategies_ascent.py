"""Adam, the baseline and the rewards, against torch, by hand, and by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mimar.space import Architecture
from mimar.strategies import Measurement, Proposal, Trial
from mimar.strategies.ascent import Adam, Baseline, Paid, Rewards


def paid(reward: float, level: str = "") -> Paid:
    return Paid(Architecture({"op": "a"}), reward, level, {})


def trial(values: tuple[float, ...], status: str = "ok", fidelity: float | None = None) -> Trial:
    return Trial(Proposal(Architecture({"op": "a"}), fidelity), Measurement({}, status=status), values)  # type: ignore[arg-type]


def test_adam_takes_the_steps_of_torch() -> None:
    rng = np.random.default_rng(0)
    ours, adam = np.ones(5), Adam(5, 0.03)
    theirs = torch.ones(5, dtype=torch.float64, requires_grad=True)
    other = torch.optim.Adam([theirs], lr=0.03, maximize=True)
    for _ in range(50):
        gradient = rng.standard_normal(5) * np.array([1e-6, 1e-2, 1.0, 10.0, 0.0])
        adam.ascend(ours, gradient)
        theirs.grad = torch.tensor(gradient)
        other.step()
    assert np.allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_adam_goes_on_from_its_state() -> None:
    first, second = Adam(2, 0.1), Adam(2, 0.1)
    x, y = np.zeros(2), np.zeros(2)
    first.ascend(x, np.array([1.0, -2.0]))
    second.load_state_dict(first.state_dict())
    y[:] = x
    for adam, at in ((first, x), (second, y)):
        adam.ascend(at, np.array([0.5, 0.5]))
    assert np.array_equal(x, y)


def test_the_baseline_takes_a_reward_in_before_or_after_its_advantage() -> None:
    # momentum 1/2 and rewards 1, 3: b = 1, then (1/4·1 + 1/2·3) / (1/4 + 1/2) = 7/3
    before, after = Baseline(0.5, "before").start(), Baseline(0.5, "after").start()
    assert [before.advantages([paid(r)])[0] for r in (1.0, 3.0)] == pytest.approx([0.0, 3 - 7 / 3])
    assert [after.advantages([paid(r)])[0] for r in (1.0, 3.0)] == pytest.approx([0.0, 2.0])
    assert before.sums == after.sums


def test_before_shrinks_an_advantage_to_the_momentum_once_the_average_is_settled() -> None:
    before, after = Baseline(0.9, "before").start(), Baseline(0.9, "after").start()
    for averages in (before, after):
        averages.advantages([paid(float(i % 2)) for i in range(1000)])
    assert before.advantages([paid(5.0)])[0] == pytest.approx(0.9 * after.advantages([paid(5.0)])[0], rel=1e-9)


def test_a_batch_has_one_baseline() -> None:
    averages = Baseline(0.0, "after").start()
    averages.advantages([paid(2.0)])
    assert averages.advantages([paid(5.0), paid(1.0)]) == [3.0, -1.0]


def test_each_fidelity_has_its_own_baseline() -> None:
    averages = Baseline(0.9, "after").start()
    averages.advantages([paid(0.2, "1.0"), paid(0.9, "9.0")])
    assert averages.advantages([paid(0.3, "1.0"), paid(1.0, "9.0")]) == pytest.approx([0.1, 0.1])


def test_what_failed_has_the_worst_reward_so_far() -> None:
    rewards = Rewards()
    assert rewards(trial((), "failed")) is None
    assert rewards(trial((0.7,))).reward == 0.7  # type: ignore[union-attr]
    assert rewards(trial((0.4,))).reward == 0.4  # type: ignore[union-attr]
    for status in ("failed", "timeout"):
        assert rewards(trial((), status)).reward == 0.4  # type: ignore[union-attr]
    assert rewards(trial((float("nan"),))).reward == 0.4  # type: ignore[union-attr]
    assert rewards(trial((), "infeasible")) is None
    assert rewards(trial((), "failed", 3.0)) is None  # nothing is known at that fidelity


def test_several_objectives_are_worth_their_place() -> None:
    rewards = Rewards()
    rewards(trial((0.5, 0.5)))
    assert rewards(trial((0.9, 0.9))).reward == 1.0  # type: ignore[union-attr]
    assert rewards(trial((0.1, 0.1))).reward == 0.0  # type: ignore[union-attr]
    again = Rewards()
    again.load_state_dict(rewards.state_dict())
    assert again(trial((0.6, 0.4))) == rewards(trial((0.6, 0.4)))
