"""The state value, optimiser moments, counting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar.core import count
from mimar.core.state import State, copy_into, moments, restore_moments
from mimar.core.streams import stream

OPTIMISERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "momentum": lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9),
    "nesterov": lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "plain": lambda w: torch.optim.SGD(w, lr=0.1),
    "adam": lambda w: torch.optim.Adam(w, lr=0.1, betas=(0.5, 0.999)),
}


def walk(optimiser: torch.optim.Optimizer, weights: list[Tensor], steps: range) -> None:
    for step in steps:
        for i, w in enumerate(weights):
            w.grad = torch.randn(w.shape, generator=stream(step, i)) if (step + i) % 3 else torch.zeros_like(w)
        optimiser.step()


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("stop", [0, 1, 5])
def test_moments_restore_an_optimiser_exactly(name: str, stop: int) -> None:
    def start() -> list[Tensor]:
        return [torch.ones(3, requires_grad=True), torch.ones(2, 2, requires_grad=True)]

    straight = start()
    walk(OPTIMISERS[name](straight), straight, range(10))
    first = start()
    optimiser = OPTIMISERS[name](first)
    walk(optimiser, first, range(stop))
    held = {n: t.clone() for n, t in moments(optimiser).items()}
    second = [w.detach().clone().requires_grad_() for w in first]
    other = OPTIMISERS[name](second)
    restore_moments(other, held)
    walk(optimiser, first, range(90, 95))  # must not reach what was restored
    walk(other, second, range(stop, 10))
    assert all(torch.equal(a, b) for a, b in zip(straight, second, strict=True))


def test_moments_are_named_by_parameter_and_aliased() -> None:
    w = [torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)]
    optimiser = OPTIMISERS["adam"](w)
    assert moments(optimiser) == {}
    walk(optimiser, w, range(1))
    held = moments(optimiser)
    assert set(held) == {f"{i}/{k}" for i in range(2) for k in ("step", "exp_avg", "exp_avg_sq")}
    before = held["0/exp_avg"].clone()
    walk(optimiser, w, range(1, 3))
    assert not torch.equal(before, held["0/exp_avg"])


def test_a_snapshot_stays_behind() -> None:
    w = torch.ones(2)
    state = State({"n": [1]})
    state.put("weights", ["a"], [w])
    kept = state.snapshot()
    w.add_(1)
    state.json["n"].append(2)
    assert state.group("weights")["a"].tolist() == [2.0, 2.0] and kept.group("weights")["a"].tolist() == [1.0, 1.0]
    assert kept.json == {"n": [1]}


def test_groups_are_told_apart_by_their_whole_name() -> None:
    state = State()
    for group in ("net", "network", "net2"):
        state.put(group, ["a/b", "c"], [torch.zeros(1), torch.ones(1)])
    assert set(state.group("net")) == {"a/b", "c"}
    state.drop("net", "absent")
    assert {n.split("/")[0] for n in state.tensors} == {"network", "net2"}
    with pytest.raises(ValueError):
        state.put("net", ["a"], [torch.zeros(1), torch.ones(1)])


def test_copy_into_writes_in_place() -> None:
    target: Any = nn.Parameter(torch.zeros(2))
    where = target.data_ptr()
    copy_into([target], [torch.ones(2)])
    assert target.tolist() == [1.0, 1.0] and target.data_ptr() == where
    with pytest.raises(ValueError):
        copy_into([target], [])


def test_counts_of_a_convolution_and_a_linear_layer() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5))
    assert count.params(net) == 3 * 8 * 9 + 8 + 128 * 5 + 5
    assert count.macs(net, torch.zeros(1, 3, 4, 4)) == 3 * 8 * 9 * 16 + 128 * 5
    assert count.macs(net, torch.zeros(2, 3, 4, 4)) == 2 * (3 * 8 * 9 * 16 + 128 * 5)
    shared = nn.Linear(2, 2)
    assert count.params(nn.Sequential(shared, shared)) == 6
