"""The noisy cold softmax: its gradient, its thinning, and the controller of its temperature."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from mimar.core.streams import stream
from mimar.gradient.relax import Context, SparseNoisy, entropy, keeps, settle
from mimar.space import Choice, Space, nasbench201

PAIR = Space([Choice("a", ("x", "y"))])
GAP = torch.tensor([1.0, 0.0], dtype=torch.float64)
COLD = SparseNoisy(start=0.01, end=0.01, threshold=0.0)


def slopes(part: SparseNoisy, draws: int) -> torch.Tensor:
    """∂p_y/∂α_y of independent draws, all in one call."""
    many = {f"c{i}": GAP.clone().requires_grad_() for i in range(draws)}
    found = part.gates(many, Context(PAIR, 0.0, stream(4, "gates"), held=keeps(part, PAIR)))
    total = torch.stack([found[n][1] for n in many]).sum()
    return torch.stack([g[1] for g in torch.autograd.grad(total, list(many.values()))])


def test_the_cold_softmax_alone_has_no_gradient() -> None:
    found = slopes(replace(COLD, noise=0.0), 1)
    assert 0 < float(found) < 1e-40
    p = torch.softmax(GAP / 0.01, 0)
    assert float(found) == pytest.approx(float(p[0] * p[1] / 0.01), rel=1e-6)


def test_under_noise_the_expected_gradient_is_the_logistic_density_at_the_gap() -> None:
    """E p(1 − p)/τ → e^−1 / (1 + e^−1)² = 0.1966 as τ falls; draws near the edge are rare and large."""
    wanted = math.exp(-1) / (1 + math.exp(-1)) ** 2
    assert wanted == pytest.approx(0.1966, abs=1e-4)
    found = slopes(replace(COLD, start=0.1, end=0.1), 12_000)
    error = float(found.std()) / math.sqrt(len(found))
    assert error < 0.006 and float(found.mean()) == pytest.approx(wanted, abs=4 * error)
    x = torch.linspace(-1, 1, 400_001, dtype=torch.float64)  # noisy gap, integrated exactly at τ = 0.01
    p, density = torch.sigmoid(x / 0.01), torch.sigmoid(x - 1) * torch.sigmoid(1 - x)
    assert float(torch.trapezoid(p * (1 - p) / 0.01 * density, x)) == pytest.approx(wanted, abs=1e-4)


def test_small_gates_are_dropped_and_the_others_sum_to_one() -> None:
    space = nasbench201()
    part = SparseNoisy(start=0.5, end=0.5, threshold=0.1)
    alphas = {c.name: torch.randn(5, generator=stream(0, c.name), dtype=torch.float64) for c in space.choices}
    whole = replace(part, threshold=0.0)
    dropped = 0
    for seed in range(30):
        plain = whole.gates(alphas, Context(space, 0.0, stream(seed), held=keeps(part, space)))
        found = part.gates(alphas, Context(space, 0.0, stream(seed), held=keeps(part, space)))
        for name, gate in found.items():
            keep = plain[name] >= 0.1
            assert found.active.get(name, (True,) * 5) == tuple(keep.tolist())
            assert torch.allclose(gate, keep * plain[name] / plain[name][keep].sum(), rtol=1e-12, atol=0)
            assert float(gate.sum()) == pytest.approx(1.0, abs=1e-14) and bool((gate[~keep] == 0).all())
            dropped += int((~keep).sum())
    assert 100 < dropped < 800


def test_the_largest_gate_stays_whatever_the_threshold() -> None:
    part = SparseNoisy(threshold=1.0)
    alpha = torch.zeros(3, dtype=torch.float64)
    space = Space([Choice("a", ("x", "y", "z"))])
    for seed in range(10):
        found = part.gates({"a": alpha}, Context(space, 0.0, stream(seed), held=keeps(part, space)))
        assert sorted(found["a"].tolist()) == [0.0, 0.0, 1.0] and sum(found.active["a"]) == 1


def test_the_temperature_falls_by_equal_factors_times_the_held_one() -> None:
    part = SparseNoisy(start=2.0, end=0.02)
    held = {"tau": torch.tensor(3.0)}
    found = [part.temperature_at(Context(PAIR, t, held=held)) for t in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([6.0, 0.6, 0.06])
    gate = part.gates({"a": GAP}, Context(PAIR, 0.5, training=False, held=held))["a"]
    assert torch.allclose(gate, torch.softmax(GAP / 0.6, 0), rtol=1e-6)


@pytest.mark.parametrize("progress", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_the_controller_brings_the_entropy_of_frozen_alphas_to_its_aim(progress: float, spread: float) -> None:
    space, part = nasbench201(), SparseNoisy()
    alphas = {c.name: spread * torch.randn(5, generator=stream(1, c.name)) for c in space.choices}
    ctx = Context(space, progress, stream(0), scope="outer", held=keeps(part, space))
    aim = 1.0 - 0.9 * progress
    before = entropy(part.gates(alphas, replace(ctx, training=False)), space)
    for _ in range(300):
        settle(part, alphas, alphas, ctx)
    after = entropy(part.gates(alphas, replace(ctx, training=False)), space)
    assert abs(before - aim) > 0.02 * aim  # it was elsewhere
    assert after == pytest.approx(aim, rel=0.02)


def test_without_gain_the_schedule_is_left_alone_and_the_factor_has_limits() -> None:
    space = nasbench201()
    alphas = {c.name: torch.zeros(5) for c in space.choices}
    for part, wanted in ((SparseNoisy(gain=0.0), 1.0), (SparseNoisy(limit=4.0), 0.25)):
        ctx = Context(space, 1.0, stream(0), held=keeps(part, space))
        for _ in range(50):
            settle(part, alphas, alphas, ctx)
        assert float(ctx.held["tau"]) == wanted  # uniform gates never come to an entropy of 0.1
