"""Depthwise convolutions of plain networks: rerouted ones give the same, everything else is left alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from mimar.core.streams import isolated, stream
from mimar.kernels import native, rerouted

SERVED = {
    "3x3": {"kernel_size": 3, "padding": 1},
    "5x5 stride 2": {"kernel_size": 5, "padding": 2, "stride": 2},
    "3x3 dilation 2, bias": {"kernel_size": 3, "padding": 2, "dilation": 2, "bias": True},
}
LEFT = {
    "dense": {"kernel_size": 3, "padding": 1, "groups": 1},
    "no padding": {"kernel_size": 3},
    "even": {"kernel_size": 2},
    "oblong": {"kernel_size": (3, 1), "padding": (1, 0)},
    "named padding": {"kernel_size": 3, "padding": "same"},
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    seen: list[int] = []
    real = rerouted.depthwise

    def counted(x: Tensor, w: Tensor, stride: int, dilation: int) -> Tensor:
        seen.append(w.shape[-1])
        return real(x, w, stride, dilation)

    monkeypatch.setattr(rerouted, "depthwise", counted)
    return seen


@pytest.mark.parametrize("name", [*SERVED, *LEFT])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_same_numbers_in_the_same_layout(name: str, layout: torch.memory_format, calls: list[int]) -> None:
    with isolated(0):
        conv = nn.Conv2d(6, 6, **({"groups": 6, "bias": False} | SERVED.get(name, {}) | LEFT.get(name, {}))).double()
    x = torch.randn(2, 6, 7, 5, generator=stream(1), dtype=torch.float64).to(memory_format=layout).requires_grad_()
    right = conv(x)
    with rerouted.Rerouted():
        found = conv(x)
    assert len(calls) == (name in SERVED and native.compiled() is not None)
    torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)
    assert found.is_contiguous(memory_format=layout)
    leaves, target = [x, *conv.parameters()], torch.randn(right.shape, generator=stream(2), dtype=torch.float64)
    slopes = [torch.autograd.grad((y.sin() * target).sum(), leaves) for y in (found, right)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_other_types_and_calls_pass_through(calls: list[int]) -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
    with rerouted.Rerouted():
        conv.bfloat16()(torch.ones(1, 4, 3, 3, dtype=torch.bfloat16))
        assert torch.relu(torch.tensor(-1.0)) == 0.0
    assert calls == []
