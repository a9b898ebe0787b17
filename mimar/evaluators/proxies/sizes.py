"""Scores that look at no data: the sizes that every other score has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mimar.core import count
from mimar.evaluators.proxies.parts import Direction, private, weights
from mimar.tasks.protocol import Batch


@dataclass(frozen=True)
class WeightNorm:
    """Σ over the weights of ‖W‖₂."""

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score."""
        return sum(float(w.detach().double().norm()) for w in weights(net).values())

    def passes(self, size: int) -> float:
        """Return 0: no pass is made."""
        return 0.0


@dataclass(frozen=True)
class Parameters:
    """The number of trainable parameters."""

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score."""
        return float(sum(p.numel() for p in net.parameters() if p.requires_grad))

    def passes(self, size: int) -> float:
        """Return 0: no pass is made."""
        return 0.0


@dataclass(frozen=True)
class Operations:
    """The multiply–accumulates of one sample."""

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score."""
        with private(net, seed) as double:
            return float(count.macs(double.eval(), batch.x[:1]))

    def passes(self, size: int) -> float:
        """Return 1."""
        return 1.0
