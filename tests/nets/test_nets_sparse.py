"""Sparse operations: exact counts, straight-through gradients of both orders, traceable, and fresh scores with fresh weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from mimar.core.errors import UsageError
from mimar.core.streams import isolated, stream
from mimar.nets import SparseConv2d, SparseLinear, inherit_scores
from mimar.nets.sparse import _step
from mimar.space import Architecture, OneOf
from mimar.supernet import extract


def conv(keep: float = 0.5, **more: object) -> SparseConv2d:
    with isolated(0):
        return SparseConv2d(3, 5, 3, padding=1, keep=keep, **more)


def linear(keep: float = 0.5, **more: object) -> SparseLinear:
    with isolated(0):
        return SparseLinear(6, 7, keep=keep, **more)


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=stream(seed), dtype=torch.float64)


def kept(layer: nn.Module) -> Tensor:
    """Return the mask of a linear layer: its answer to units, where all weights are one."""
    with torch.no_grad():
        layer.weight.fill_(1.0)
        return layer(torch.eye(layer.in_features).to(layer.weight)).T - (
            0.0 if layer.bias is None else layer.bias[:, None]
        )


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("size", [1, 10, 100, 1000, 4999])
@pytest.mark.parametrize("keep", ["0.01", "0.07", "0.1", "0.29", "0.3", "0.57", "0.999", "1"])
def test_count_is_exact(keep: str, size: int, scheduled: bool) -> None:
    with isolated(0):
        layer = SparseLinear(size, 1, bias=False, keep=float(keep), scheduled=scheduled)
    assert int(kept(layer).sum()) == math.ceil(Fraction(keep) * size)


def test_largest_are_kept_and_of_equal_ones_the_first() -> None:
    layer = SparseLinear(6, 1, bias=False, keep=0.5)
    layer.scores.data = torch.tensor([[0.5, -2.0, 0.5, 1.0, -0.5, 0.1]])
    assert kept(layer).tolist() == [[1.0, 1.0, 0.0, 1.0, 0.0, 0.0]]
    layer.scores.data = torch.tensor([[0.5, -0.5, 0.2, 0.5, 0.5, 0.1]])
    assert kept(layer).tolist() == [[1.0, 1.0, 0.0, 1.0, 0.0, 0.0]]


@pytest.mark.parametrize("size", [2**22, 2**23, 10**7, 10**9])
def test_large_layers_keep_all_at_one(size: int) -> None:
    assert (size - 1) * _step(size) < 1.0 <= size * _step(size)  # the last rank is in


@pytest.mark.parametrize("scheduled", [False, True])
def test_keep_one_is_dense_to_the_last_bit(scheduled: bool) -> None:
    x = draw(2, 3, 6, 6).float()
    layer = conv(1.0, scheduled=scheduled)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=1))
    flat = linear(1.0, scheduled=scheduled)
    assert torch.equal(flat(x.flatten(2)[..., :6]), F.linear(x.flatten(2)[..., :6], flat.weight, flat.bias))


@pytest.mark.parametrize("make", [conv, linear])
def test_gradients_are_those_of_the_masked_product(make: Callable[..., nn.Module]) -> None:
    layer = make(0.3).double()
    with torch.no_grad():
        layer.scores.mul_(torch.randn(layer.scores.shape, generator=stream(2)).sign())
    x = draw(2, 3, 6, 6)
    rank = layer.scores.detach().abs().flatten().argsort(descending=True)
    mask = torch.zeros(rank.numel(), dtype=torch.float64)
    mask[rank[: math.ceil(0.3 * rank.numel())]] = 1.0
    mask = mask.view_as(layer.weight).requires_grad_()
    dense = F.conv2d if make is conv else F.linear
    more = {"padding": 1} if make is conv else {}
    y = dense(x, layer.weight * mask, layer.bias, **more)
    torch.testing.assert_close(layer(x), y)
    of_weight, of_mask = torch.autograd.grad((y**3).sum(), (layer.weight, mask))
    found = torch.autograd.grad((layer(x) ** 3).sum(), (layer.weight, layer.scores))
    torch.testing.assert_close(found[0], of_weight)
    torch.testing.assert_close(found[1], of_mask * layer.scores.sign())
    assert (of_weight[mask == 0] == 0).all()
    assert (found[1] != 0).all()


@pytest.mark.parametrize("make", [conv, linear])
def test_second_derivatives_are_those_of_the_soft_product(make: Callable[..., nn.Module]) -> None:
    """weight · (mask + scores − scores₀) at scores = scores₀, the product that the straight-through rule differentiates."""
    layer = make(0.4, bias=False).double()
    x, mask = draw(2, 3, 6, 6), None
    with torch.no_grad():
        order = layer.scores.flatten().argsort(descending=True)[: math.ceil(0.4 * layer.scores.numel())]
        mask = torch.zeros(layer.scores.numel(), dtype=torch.float64).index_fill(0, order, 1.0).view_as(layer.scores)
    start = layer.scores.detach().clone()

    def soft(weight: Tensor, scores: Tensor) -> Tensor:
        held = weight * (mask + scores - start)
        return ((F.conv2d(x, held, padding=1) if make is conv else F.linear(x, held)) ** 3).sum()

    def own(weight: Tensor, scores: Tensor) -> Tensor:
        return (torch.func.functional_call(layer, {"weight": weight, "scores": scores}, x) ** 3).sum()

    at = (layer.weight.detach(), start)
    shift = (draw(*at[0].shape, seed=3), draw(*at[1].shape, seed=4))
    found, wanted = (torch.autograd.functional.hvp(f, at, shift)[1] for f in (own, soft))
    torch.testing.assert_close(found, wanted)
    assert all(bool((t != 0).any()) for t in found)


@pytest.mark.parametrize("make", [conv, linear])
@pytest.mark.parametrize("scheduled", [False, True])
def test_traceable(make: Callable[..., nn.Module], scheduled: bool) -> None:
    layer, x = make(0.3, scheduled=scheduled), draw(2, 3, 6, 6).float()
    graph = fx.symbolic_trace(layer)
    assert torch.equal(graph(x), layer(x))
    layer.scores.data = layer.scores.data.flip(0)  # the graph follows the scores
    assert torch.equal(graph(x), layer(x))
    if scheduled:
        layer.keep.fill_(0.9)
        graph.keep.fill_(0.9)
        assert torch.equal(graph(x), layer(x))


def test_schedule_finds_the_ratio_by_its_name() -> None:
    names = dict(nn.Sequential(conv(0.2, scheduled=True), linear(0.2)).named_buffers())
    assert list(names) == ["0.keep"]
    assert (names["0.keep"].dim(), float(names["0.keep"])) == (0, pytest.approx(0.2))


@pytest.mark.parametrize("make", [conv, linear])
def test_scores_follow_the_weights_at_the_start_and_at_every_reset(make: Callable[..., nn.Module]) -> None:
    layer = make()
    for seed in (None, 4):
        before = layer.scores.detach().clone()
        if seed is not None:
            with isolated(seed):
                layer.reset_parameters()
            assert not torch.equal(layer.scores, before)
        torch.testing.assert_close(layer.scores, layer.weight.abs() / layer.weight.abs().max())
        assert float(layer.scores.detach().max()) == 1.0


def test_scores_are_inherited_by_name() -> None:
    net = nn.Sequential(conv(), nn.Linear(2, 2), linear())
    with torch.no_grad():
        net[0].weight.mul_(-3.0)[0, 0].zero_()
        net[2].weight.zero_()
    held = dict(net.named_parameters())
    inherit_scores(held)
    torch.testing.assert_close(net[0].scores, net[0].weight.abs() / net[0].weight.abs().max())
    assert (net[2].scores == 0).all()
    inherit_scores(dict(net[0].named_parameters()))
    with pytest.raises(UsageError, match=r"'0.scores' are about '0.weight', which is not among"):
        inherit_scores({"0.scores": held["0.scores"]})


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.5, float("nan")])
def test_ratio_is_a_share(keep: float) -> None:
    with pytest.raises(UsageError, match="keep is"):
        conv(keep)


def test_extracted_network_is_drawn_afresh_and_learns_scores_too() -> None:
    model = nn.Sequential(OneOf({"a": conv(0.3), "b": nn.Identity()}, name="o"), nn.Flatten(), linear(0.3))
    model[2] = nn.Linear(5 * 16, 2)
    net = extract(model, Architecture({"o": "a"}), fresh=stream(3))
    held = dict(net.named_parameters())
    weight, scores = held["0.weight"], held["0.scores"]
    assert not torch.equal(weight, conv(0.3).weight)
    torch.testing.assert_close(scores, weight.abs() / weight.abs().max())
    net(draw(2, 3, 4, 4).float()).square().sum().backward()
    assert (scores.grad != 0).any() and (weight.grad != 0).any()
