"""The auxiliary head of DARTS' final training, beside the network instead of inside it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mimar.core.errors import UsageError


class Auxiliary:
    """A second classifier on the output of an inner module; called after the network, it classifies what was seen."""

    def __init__(self, tapped: nn.Module, module: nn.Module) -> None:
        self.module = module
        self.seen: Tensor | None = None
        self.hook = tapped.register_forward_hook(self._see)

    def _see(self, _module: nn.Module, _inputs: Any, y: Tensor) -> None:
        self.seen = y

    def __call__(self, _x: Any) -> Tensor:
        """Return the head's logits for the batch that went through the network last."""
        logits: Tensor = self.module(self.seen)
        return logits

    def remove(self) -> None:
        """Take the hook off; the network is plain again."""
        self.hook.remove()


def attach_auxiliary(net: nn.Module, model: nn.Module, x: Tensor, classes: int) -> Auxiliary:
    """Attach DARTS' auxiliary head at the module that `model.auxiliary_tap` names; `x` is an example batch.

    ReLU, average pool to 2×2, 1×1 convolution to 128, 2×2 convolution to 768, each with batch norm, then a linear
    layer. Differs: an adaptive pool instead of 5×5 with stride 3, which needs 8×8 maps.
    """
    tap = getattr(model, "auxiliary_tap", None)
    if not tap:
        raise UsageError("this network names no auxiliary_tap, so that it can have no auxiliary head; use auxiliary=0")
    tapped = net.get_submodule(tap)
    shapes: list[int] = []
    hook = tapped.register_forward_hook(lambda _m, _i, y: shapes.append(y.shape[1]))
    training = net.training
    with torch.no_grad():
        net.eval()(x)
    net.train(training)
    hook.remove()
    head = nn.Sequential(
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Conv2d(shapes[0], 128, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.Conv2d(128, 768, 2, bias=False),
        nn.BatchNorm2d(768),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(768, classes),
    )
    return Auxiliary(tapped, head.to(x.device))
