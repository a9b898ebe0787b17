"""Synaptic flow: how much can pass through a network from any input to any output, whatever the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mimar.evaluators.proxies.parts import Direction, private, slopes, weights
from mimar.tasks.protocol import Batch


@dataclass(frozen=True)
class SynapticFlow:
    """log Σ |W ⊙ ∂R/∂W|, R the sum of the outputs for an input of ones, all weights and biases by their absolute value.

    Without batch norm, in double precision: sums reach 1e59, hence the logarithm, which changes no rank. Where nothing
    passes it is −∞. Source: Tanaka, Kunin, Yamins and Ganguli, "Pruning neural networks without any data", 2020.
    """

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score; of the batch only the shape is used."""
        total = sum(float(flow.sum()) for flow in self.flows(net, batch, seed).values())
        return math.log(total) if total > 0 else -math.inf

    def flows(self, net: nn.Module, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """Return {weight: |W ⊙ ∂R/∂W|} in float64. Along a chain without biases every layer has the same sum."""
        with private(net, seed) as double:
            for parent in list(double.modules()):
                for name, child in parent.named_children():
                    if isinstance(child, nn.modules.batchnorm._BatchNorm):
                        setattr(parent, name, nn.Identity())
            double.double()
            with torch.no_grad():
                for p in double.parameters():
                    p.abs_()
            held = weights(double)
            x = torch.ones(1, *batch.x.shape[1:], dtype=torch.float64, device=batch.x.device)
            found = slopes(double(x).sum(), list(held.values()))
        return {name: (w.detach() * g).abs() for (name, w), g in zip(held.items(), found, strict=True)}

    def passes(self, size: int) -> float:
        """Return 3: one sample, forward and back."""
        return 3.0
