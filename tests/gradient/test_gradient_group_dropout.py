"""Options dropped in groups, and the mass that is kept."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mimar.core.streams import stream
from mimar.gradient.relax import Context, GroupDropout, settle
from mimar.nets.operations import DARTS, NASBENCH201
from mimar.space import Choice, Space

NAMES = (
    "none",
    "sep_conv_3x3",
    "skip_connect",
    "sep_conv_5x5",
    "max_pool_3x3",
    "dil_conv_3x3",
    "avg_pool_3x3",
    "dil_5x5",
)
SPACE = Space([Choice(f"c{i}", NAMES) for i in range(4000)])
FREE = [i % 2 == 0 for i in range(8)]


def alphas(dtype: Any = torch.float64) -> dict[str, Tensor]:
    return {c.name: torch.randn(8, generator=stream(0, c.name), dtype=torch.float64).to(dtype) for c in SPACE.choices}


def kept(rate: float, seed: int = 0) -> Tensor:
    part = GroupDropout(rate=rate)
    found = part.gates(alphas(), Context(SPACE, 0.5, stream(seed)))
    return torch.tensor([found.active.get(c.name, (True,) * 8) for c in SPACE.choices])


def test_the_groups_are_those_of_our_operations() -> None:
    part = GroupDropout()
    weightless = {"none", "noise", "max_pool_3x3", "avg_pool_3x3", "skip_connect"}
    assert {name for name in (*DARTS, *NASBENCH201) if name in part.free} == weightless


def test_options_are_dropped_at_the_rate_that_leaves_a_group_empty_once_in_many() -> None:
    dropped = (~kept(3e-5)).double().mean(0)
    assert 3e-5**0.25 == pytest.approx(0.074, abs=1e-3)
    assert torch.allclose(dropped, torch.full((8,), 3e-5**0.25, dtype=torch.float64), atol=0.016)
    assert float(dropped.mean()) == pytest.approx(3e-5**0.25, abs=0.006)


@pytest.mark.parametrize("rate", [3e-5, 0.3, 0.9, 1.0])
def test_no_group_is_ever_empty(rate: float) -> None:
    keep = kept(rate)
    free = torch.tensor(FREE)
    left = torch.stack([keep[:, free].sum(1), keep[:, ~free].sum(1)])
    assert int(left.min()) >= 1
    if rate == 1.0:
        assert int(left.max()) == 1
        assert torch.allclose(keep.double().mean(0), torch.full((8,), 0.25, dtype=torch.float64), atol=0.03)


def test_a_group_of_one_and_a_choice_of_one_group_are_served() -> None:
    space = Space([Choice("a", ("none", "x", "y")), Choice("b", ("u", "v"))])
    zeros = {"a": torch.zeros(3), "b": torch.zeros(2)}
    for seed in range(20):
        found = GroupDropout(rate=0.9).gates(zeros, Context(space, 0.5, stream(seed)))
        assert found["a"][0] > 0 and any(found.active.get("b", (True,)))


def test_gates_are_the_softmax_of_the_survivors() -> None:
    part, given = GroupDropout(rate=0.1), alphas()
    found = part.gates(given, Context(SPACE, 0.5, stream(1)))
    for name, active in list(found.active.items())[:50]:
        keep = torch.tensor(active)
        wanted = torch.where(keep, given[name].exp(), 0.0)
        assert torch.allclose(found[name], wanted / wanted.sum(), rtol=1e-13, atol=0)


def test_dropped_options_keep_their_probabilities_over_a_step() -> None:
    part, before = GroupDropout(rate=0.1), alphas()
    after = {n: a + 0.3 * torch.randn(8, generator=stream(2, n), dtype=torch.float64) for n, a in before.items()}
    stepped = {n: a.clone() for n, a in after.items()}
    active = part.gates(before, Context(SPACE, 0.5, stream(1), scope="outer")).active
    settle(part, after, before, Context(SPACE, 0.5, stream(1), scope="outer"))
    assert 500 < len(active) < 4000
    for name, alpha in after.items():
        if name not in active:
            assert torch.equal(alpha, stepped[name])
            continue
        keep = torch.tensor(active[name])
        old, new = torch.softmax(before[name], 0), torch.softmax(alpha, 0)
        assert float((old - new)[~keep].abs().max()) <= 1e-15
        assert torch.equal(alpha[~keep], before[name][~keep])
        share = float(old[keep].sum())  # k of the sheet, from the masses of dropped and kept options
        masses = before[name][~keep].exp().sum() / stepped[name][keep].exp().sum()
        k = math.log(share / (1 - share)) + math.log(float(masses))
        assert torch.allclose(alpha[keep] - stepped[name][keep], torch.full_like(alpha[keep], k), atol=1e-12)
