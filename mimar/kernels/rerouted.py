"""Depthwise convolutions of plain torch networks on the kernels that serve them best, for the time of a block.

    with Rerouted():
        loss = criterion(net(x), y)     # any nn.Conv2d whose groups are its channels

A derived network is plain torch and stays so: its calls are rerouted, not its modules. Backward follows by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mimar.kernels import native
from mimar.kernels.depthwise import depthwise


class Rerouted(TorchFunctionMode):
    """Sends depthwise calls of torch.conv2d ("same" padding, odd square kernels, in main memory) to `depthwise`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d and not kwargs and len(args) == 7:
            found = _depthwise(*args)
            if found is not None:
                return found
        return func(*args, **(kwargs or {}))


def _depthwise(
    x: Tensor, w: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor | None:
    """Return the convolution, or None where it is not depthwise or not for these kernels."""
    if not (x.dim() == 4 and groups > 1 and groups == len(w) == x.shape[1] and w.shape[1] == 1 and native.serves(x, w)):
        return None
    s, p, d = (tuple(v) if isinstance(v, Sequence) else v for v in (stride, padding, dilation))
    k = w.shape[2]
    if k % 2 == 0 or k != w.shape[3] or s != (s[0],) * 2 or d != (d[0],) * 2 or p != (d[0] * (k // 2),) * 2:
        return None
    y = depthwise(x, w, s[0], d[0])
    y = y if bias is None else y + bias.view(-1, 1, 1)
    plain = x.is_contiguous() and not x.is_contiguous(memory_format=torch.channels_last)
    return y.contiguous() if plain else y
