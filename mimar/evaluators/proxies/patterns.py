"""Scores from activation patterns: which rectified units are on, C_b ∈ {0, 1}^units, for each input b.

A unit that is linear on either side of zero counts, wherever a network computes it: as a module or as a function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mimar.core.ranges import Count, validate
from mimar.evaluators.proxies.parts import Direction, private
from mimar.tasks.protocol import Batch

RECTIFIERS = {"aten::relu", "aten::relu_", "aten::leaky_relu", "aten::leaky_relu_", "aten::_prelu_kernel"}
CLIPPED = {f"aten::{name}{place}" for name in ("hardtanh", "clamp", "clamp_min") for place in ("", "_")}  # from zero up


class Rectified(TorchDispatchMode):
    """Shows `see` the pattern (B, units) of every rectifier, in the order in which a network runs them."""

    def __init__(self, see: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.see = see

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        low = (*args, (kwargs or {}).get("min"))[1] if name in CLIPPED else None
        if name in RECTIFIERS or (isinstance(low, int | float) and low == 0):
            self.see((args[0] > 0).flatten(1))  # before a function in place writes over it
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class ActivationKernel:
    """log |det K|, K = Σ_ReLU [C Cᵀ + (1 − C)(1 − C)ᵀ]: K_ij counts the units in which inputs i and j agree.

    Its diagonal is the number of units. −∞ where two inputs have the same pattern, or there is no rectifier.
    Source: Mellor, Turner, Storkey and Crowley, "Neural Architecture Search without Training", 2021.
    """

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score; labels are not used."""
        return float(torch.linalg.slogdet(self.kernel(net, batch, seed)).logabsdet)

    def kernel(self, net: nn.Module, batch: Batch, seed: int = 0) -> Tensor:
        """Return K (B, B) in float64, whole numbers."""
        kernel = torch.zeros(len(batch.x), len(batch.x), dtype=torch.float64, device=batch.x.device)

        def see(on: Tensor) -> None:
            c = on.to(torch.float32)  # sums of ones are exact up to 2²⁴ units a layer
            same = c @ c.T + (1 - c) @ (1 - c).T
            kernel.add_(same.double())

        with private(net, seed) as double, torch.no_grad(), Rectified(see):
            double(batch.x)
        return kernel

    def passes(self, size: int) -> float:
        """Return 1 a sample."""
        return float(size)


@dataclass(frozen=True)
class LinearRegions:
    """The mean number of linear regions that a straight way from one input of the batch to the next one crosses.

    1 + the number of times that a unit switches along `points` steps, summed over units: exact where no unit switches
    twice within a step. It grows with width and depth without a bound, unlike the number of different patterns of n
    inputs, which is n in any network of a usual size (there it needs a copy of one channel on tiny inputs: Chen, Gong and
    Wang, "TE-NAS", 2021). Source of the count along lines: Hanin and Rolnick, "Complexity of Linear Regions", 2019.
    """

    points: Count = 16
    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score; labels are not used."""
        size, steps = len(batch.x), self.points + 1
        along = torch.linspace(0.0, 1.0, steps, dtype=batch.x.dtype, device=batch.x.device)
        along = along.view(1, steps, *([1] * (batch.x.dim() - 1)))
        ends = batch.x.roll(-1, 0)
        x = batch.x[:, None] * (1 - along) + ends[:, None] * along  # (B, points + 1, …)
        switched = 0

        def see(on: Tensor) -> None:
            nonlocal switched
            ways = on.view(size, steps, -1)
            switched += int((ways[:, 1:] != ways[:, :-1]).sum())

        with private(net, seed) as double, torch.no_grad(), Rectified(see):
            double(x.flatten(0, 1))
        return 1.0 + switched / size

    def passes(self, size: int) -> float:
        """Return one for each of the points."""
        return float(size * (self.points + 1))
