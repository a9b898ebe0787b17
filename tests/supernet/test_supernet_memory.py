"""The estimate of a step's memory: what autograd keeps, counted once, linear in the batch."""

from __future__ import annotations

import torch
from torch import nn

import mimar
from mimar.supernet import Reference, Supernet, free_bytes, saved_bytes, step_bytes


def supernet(channels: int = 4) -> Supernet:
    body = mimar.OneOf({"conv": nn.Conv2d(channels, channels, 3, padding=1), "skip": nn.Identity()}, name="body")
    return Supernet(nn.Sequential(nn.Conv2d(1, channels, 1), body), engine=Reference())


def gates(net: Supernet) -> dict[str, torch.Tensor]:
    return {c.name: torch.full((len(c.options),), 1 / len(c.options)) for c in net.space.choices}


def test_every_kept_tensor_counts_once() -> None:
    net, x = supernet(), torch.randn(2, 1, 5, 5)
    # x for the first convolution; its output for the second one and for the gate of the identity; the second's output
    # for its gate; and the two gates themselves, of which the mixture keeps the elements' storage
    images = 2 * 5 * 5 * 4 * (1 + 4 + 4)
    assert images <= saved_bytes(net, gates(net), x) <= images + 64


def test_linear_in_the_batch_and_in_the_channels() -> None:
    net = supernet(16)
    small, large = (saved_bytes(net, gates(net), torch.randn(n, 1, 16, 16)) for n in (4, 16))
    assert abs(large / small - 4) < 0.01
    estimate = step_bytes(net, gates(net), torch.randn(4, 1, 16, 16), 16)
    weights = sum(w.numel() * 4 for w in net.weights)
    assert abs(estimate - 4 * weights - large) < 0.01 * large


def test_nothing_is_touched_and_memory_is_told() -> None:
    net = supernet()
    before = [w.clone() for w in net.weights]
    saved_bytes(net, gates(net), torch.randn(2, 1, 5, 5))
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, net.weights, strict=True))
    free = free_bytes("cpu")
    assert free is None or free > 1_000_000
