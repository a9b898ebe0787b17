"""Counting: parameters of a module, and multiply–accumulates (MACs) of one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def params(module: nn.Module) -> int:
    """Return the number of parameters, each shared one once."""
    return sum(p.numel() for p in module.parameters())


def macs(forward: Callable[[Any], Any], x: Tensor) -> int:
    """Return the MACs of `forward(x)`: convolutions and matrix products, as torch's counter knows them (FLOPs / 2).

    Divide by the batch size of `x` for the cost of one sample. Runs the pass once, without gradients.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward(x)
    return counter.get_total_flops() // 2
