"""Drop-path on a plain network: forward hooks on the chosen options, removed when the training ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mimar.supernet.extract import Edge


class DropPath:
    """Zeroes the output of each chosen option for a random share of the samples, and scales the others up.

        y ← y · m / (1 − p),   m ~ Bernoulli(1 − p) for every sample and option

    Options without computation (identities) are spared, as in DARTS. Source: FractalNet; DARTS uses p = 0.2.
    """

    def __init__(self, edges: Sequence[Edge]) -> None:
        self.rate = 0.0
        self.rng = torch.Generator()
        modules = {id(e.module): e.module for e in edges if not isinstance(e.module, nn.Identity)}
        self.hooks = [m.register_forward_hook(self._drop) for m in modules.values()]

    def start(self, rate: float, noise: int) -> None:
        """Set the rate and the stream of the coming step."""
        self.rate = rate
        self.rng.manual_seed(noise)

    def _drop(self, module: nn.Module, _inputs: Any, y: Tensor) -> Tensor | None:
        if not module.training or self.rate == 0.0:
            return None
        keep = 1.0 - self.rate
        shape = (y.shape[0],) + (1,) * (y.dim() - 1)
        mask = (torch.rand(shape, generator=self.rng) < keep).to(y)  # (B, 1, …)
        return y * mask / keep

    def remove(self) -> None:
        """Take the hooks off; the network is plain again."""
        for hook in self.hooks:
            hook.remove()


def drop_paths(edges: Sequence[Edge]) -> DropPath:
    """Return drop-path over the chosen options of an extracted network."""
    return DropPath(edges)
