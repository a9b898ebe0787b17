"""The Gaussian complexity of a network's features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from mimar.core.ranges import Positive, validate
from mimar.core.streams import stream
from mimar.evaluators.proxies.parts import Direction, Features, gaussian, private
from mimar.tasks.protocol import Batch

KEPT = 0.9  # of a running variance, which begins at one


@dataclass(frozen=True)
class GaussianComplexity:
    """log mean_b Σ |f(x) − f(x + γ ε)| + Σ_BN log √(mean over channels of the running variance).

    f: the features before pooling; x, ε and all weights standard normal. The sum puts back what batch norm takes out; a
    running variance is 0.9 + 0.1 times that of the pass over x, as after a first batch in the released code (the paper
    takes the variance itself, which is zero where an operation lets nothing pass). −∞ where the features do not move.
    Source: Lin et al., "Zen-NAS", 2021, γ = 0.01.
    """

    step: Positive = 0.01
    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score; of the batch only the shape is used."""
        rng = stream(seed, "zen")
        x, e = (torch.randn(batch.x.shape, generator=rng).to(batch.x) for _ in range(2))
        scales: list[float] = []

        def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            channels = inputs[0].double().transpose(0, 1).flatten(1)  # (C, B·H·W)
            scales.append(KEPT + (1 - KEPT) * float(channels.var(1).mean()))

        with private(net, seed) as double, torch.no_grad():
            gaussian(double)
            hooks = [
                m.register_forward_pre_hook(note)
                for m in double.modules()
                if isinstance(m, nn.modules.batchnorm._BatchNorm)
            ]
            with Features() as seen:
                double(x)
            first = seen.found
            for hook in hooks:
                hook.remove()
            with Features() as seen:
                double(x + self.step * e)
        moved = float((first - seen.found).double().abs().flatten(1).sum(1).mean())
        return math.log(moved) + sum(0.5 * math.log(s) for s in scales) if moved > 0 else -math.inf

    def passes(self, size: int) -> float:
        """Return 2 a sample."""
        return 2.0 * size
