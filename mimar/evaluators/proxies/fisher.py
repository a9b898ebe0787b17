"""The Fisher information of channels at initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mimar.evaluators.proxies.parts import Direction, loss, private, slopes
from mimar.tasks.protocol import Batch

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True)
class FisherInformation:
    """Σ over layers and channels of ½ mean_b (Σ_hw a ⊙ ∂L/∂a)², a the output of a convolution or a linear layer.

    A layer that runs several times counts each time. Source: Turner et al., "BlockSwap", 2020; Abdelfattah et al., 2021.
    """

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score."""
        outputs: list[Tensor] = []

        def note(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            outputs.append(output)
            return output.clone()  # what follows may write into it

        with private(net, seed) as double:
            for module in double.modules():
                if isinstance(module, LAYERS):
                    module.register_forward_hook(note)
            value = loss(double(batch.x), batch.y)
            used = [a for a in outputs if a.requires_grad]
            found = slopes(value, used)
        score = 0.0
        for a, g in zip(used, found, strict=True):
            per = (a.detach() * g).double()  # (B, C, H, W), (B, K) or (B, T, K)
            per = per.flatten(2).sum(2) if per.dim() > 3 else per.sum(1) if per.dim() == 3 else per
            score += float(0.5 * torch.square(per).mean(0).sum())
        return score

    def passes(self, size: int) -> float:
        """Return 3 a sample."""
        return 3.0 * size
