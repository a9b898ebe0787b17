"""Mini-batch descent on a small network, for predictors that are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


class Pace(NamedTuple):
    """How long, how many at once, and how fast; `decay` is that of weights."""

    epochs: int
    batch: int
    lr: float
    decay: float = 0.0


def descend(
    net: nn.Module,
    output: Callable[[Tensor], Tensor],
    target: Tensor,
    pace: Pace,
    loss: Loss = nn.functional.mse_loss,
) -> None:
    """Fit the parameters of `net` that need gradients by Adam: loss(output(rows), target[rows]) over shuffled batches.

    Shuffles and dropout draw from torch's global generator: call it inside `mimar.core.streams.isolated`.
    """
    with torch.enable_grad():
        free = [p for p in net.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(free, lr=pace.lr, weight_decay=pace.decay)
        for _ in range(pace.epochs):
            for rows in torch.randperm(len(target)).split(pace.batch):
                optimiser.zero_grad()
                loss(output(rows), target[rows]).backward()
                optimiser.step()
