"""Binary convolutions: the formula, the clipped identity behind each sign, traceable, twice differentiable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from mimar.core.streams import isolated, stream
from mimar.nets import BinaryConv2d
from mimar.nets.binary import signs
from mimar.space import Architecture, OneOf
from mimar.supernet import extract


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=stream(seed), dtype=torch.float64)


def layer(**options: object) -> BinaryConv2d:
    with isolated(0):
        return BinaryConv2d(4, 6, 3, padding=1, **options).double()


def test_signs() -> None:
    x = torch.tensor([-2.0, -1.0, -0.3, -0.0, 0.0, 0.3, 1.0, 1.5], requires_grad=True)
    y = signs(x)
    assert y.tolist() == [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    (y * torch.arange(1.0, 9.0)).sum().backward()
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0]
    assert signs(torch.tensor([float("nan")])).isnan().all()


@pytest.mark.parametrize("options", [{}, {"bias": False, "stride": 2}, {"groups": 2}])
def test_formula(options: dict) -> None:
    conv, x = layer(**options), draw(2, 4, 6, 6)
    sign = torch.where(conv.weight >= 0, 1.0, -1.0).double()
    y = F.conv2d(torch.where(x >= 0, 1.0, -1.0).double(), sign, None, conv.stride, 1, 1, conv.groups)
    y = y * conv.weight.abs().mean(dim=(1, 2, 3))[:, None, None]
    torch.testing.assert_close(conv(x), y + (0.0 if conv.bias is None else conv.bias[:, None, None]))


def test_sums_of_signs_are_exact() -> None:
    """What cancels is zero in any order of summation, so that the sign behind it is the same on every machine."""
    conv, x = layer(bias=False), draw(8, 4, 6, 6)
    scale = conv.weight.abs().mean(dim=(1, 2, 3))[:, None, None]
    y = conv(x) / scale
    assert (y.round() - y).abs().max() < 1e-12
    assert (conv(x) == 0).any()
    assert torch.equal(conv(x.flip(0)).flip(0) > 0, y.round() > 0)


def test_gradients_are_those_of_clipped_values_at_the_signs() -> None:
    conv, x = layer(bias=False), draw(2, 4, 6, 6).requires_grad_()
    with torch.no_grad():
        conv.weight.mul_(8.0)  # so that some are clipped
    assert 0.1 < float((conv.weight.abs() > 1).float().mean()) < 0.9
    g = draw(2, 6, 6, 6, seed=2)
    found = torch.autograd.grad((conv(x) * g).sum(), (x, conv.weight))
    sx, sw = (signs(t).detach().requires_grad_() for t in (x, conv.weight))
    mean = conv.weight.detach().abs().mean(dim=(1, 2, 3), keepdim=True).requires_grad_()
    of_x, of_w, of_mean = torch.autograd.grad((F.conv2d(sx, sw * mean, padding=1) * g).sum(), (sx, sw, mean))
    torch.testing.assert_close(found[0], of_x * (x.abs() <= 1))
    torch.testing.assert_close(found[1], of_w * (conv.weight.abs() <= 1) + of_mean * sw / sw[0].numel())


def test_differentiable_twice() -> None:
    conv, x = layer(), draw(2, 4, 6, 6).requires_grad_()
    first = torch.autograd.grad(torch.tanh(conv(x)).sum(), (x, *conv.parameters()), create_graph=True)
    second = torch.autograd.grad(sum(t.square().sum() for t in first), (x, *conv.parameters()))
    assert all(bool(torch.isfinite(t).all()) and bool((t != 0).any()) for t in second)


def test_traceable() -> None:
    conv, x = layer(), draw(2, 4, 6, 6)
    graph = fx.symbolic_trace(conv)
    assert torch.equal(graph(x), conv(x))
    conv.weight.data.neg_()  # the graph follows the weights
    assert torch.equal(graph(x), conv(x))


def test_extracted_network_is_drawn_afresh() -> None:
    model = nn.Sequential(OneOf({"a": layer(), "b": nn.Identity()}, name="o"))
    net = extract(model, Architecture({"o": "a"}), fresh=stream(3))
    held = dict(net.named_parameters())
    assert not torch.equal(held["0.weight"], layer().weight)
    with isolated(0):
        assert net(draw(2, 4, 6, 6)).shape == (2, 6, 6, 6)
