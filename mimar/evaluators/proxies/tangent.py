"""The neural tangent kernel at initialisation: how evenly a network can be trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mimar.evaluators.proxies.parts import Direction, private, slopes
from mimar.tasks.protocol import Batch


@dataclass(frozen=True)
class TangentCondition:
    """κ = λ_max / λ_min of Θ_ij = ∇f_i · ∇f_j, f_i the sum of the outputs of sample i; smaller is better.

    Gradients are with respect to all trainable parameters (the released code leaves biases out). +∞ where Θ is singular.
    Source: Chen, Gong and Wang, "Neural Architecture Search on ImageNet in Four GPU Hours", 2021.
    """

    direction: ClassVar[Direction] = "min"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score; labels are not used."""
        found = self.kernel(net, batch, seed)
        if not torch.isfinite(found).all():
            return math.nan
        values = torch.linalg.eigvalsh(found)
        low, high = float(values[0]), float(values[-1])
        return high / low if low > 0 else math.inf

    def kernel(self, net: nn.Module, batch: Batch, seed: int = 0) -> Tensor:
        """Return Θ (B, B) in float64. Holds the gradients of all samples at once.

        They are taken one after the other: batched by `torch.func.vmap` they took 1.2 to 1.5 times as long on a CPU,
        because batch norm couples all samples, and the products with inputs are expanded.
        """
        with private(net, seed) as double:
            held = [p for p in double.parameters() if p.requires_grad]
            outputs = double(batch.x).flatten(1).sum(1)
            rows = [torch.cat([g.flatten() for g in slopes(f, held, retain_graph=True)]) for f in outputs]
        kernel = torch.stack(rows).double()
        return kernel @ kernel.T

    def passes(self, size: int) -> float:
        """Return 1 + 2B a sample: through batch norm, the gradient of one sample passes through all of them."""
        return size * (1.0 + 2.0 * size)
