"""Choices on a part of the channels, while the others pass by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mimar.core.errors import UsageError


@dataclass(frozen=True)
class Partial:
    """How the edges of a cell share the C channels of a node: their choices take C/K of them, the others go round.

        f_ij(x) = shuffle( choice_ij(S∗x) ⧺ bypass((1 − S)∗x) ),    S: the first C/K channels

    The bypass is the identity, at a stride s the maximum over s×s pixels. The shuffle (of K groups) sends channel
    g·C/K + c to c·K + g, so that the next edge chooses on other channels. It is linear, so that a cell cuts each node once
    and shuffles each sum of edges once:

        Σ_i q_i f_ij(x_i) = shuffle( Σ_i q_i choice_ij(S∗x_i) ⧺ Σ_i q_i bypass((1 − S)∗x_i) )

    `random`: S is drawn anew for each cell at every call, from torch's global generator (which a supernet isolates), and
    every channel keeps its place, so that no shuffle is needed. Raises UsageError unless K divides C.
    Source: PC-DARTS (Xu et al., ICLR 2020), equation 1, where each edge has a random S of its own; fixed channels and the
    shuffle are those of the authors' release.
    """

    channels: int
    parts: int
    random: bool = False

    def __post_init__(self) -> None:
        check_parts(self.parts, self.channels)

    def order(self, x: Tensor) -> Tensor | None:
        """Return the order in which channels are taken, S first; None: as they stand."""
        return torch.rand_like(x[0, :, 0, 0]).argsort() if self.random else None

    def cut(self, x: Tensor, order: Tensor | None, stride: int = 1) -> tuple[Tensor, Tensor]:
        """Return S∗x (B, C/K, H, W) and bypass((1 − S)∗x) (B, C − C/K, ⌈H/stride⌉, ⌈W/stride⌉)."""
        taken, given = self.channels // self.parts, x if order is None else x[:, order]
        passed = given[:, taken:]
        # rounded up, as operations round: odd sides and single pixels work
        return given[:, :taken], passed if stride == 1 else F.max_pool2d(passed, stride, stride, ceil_mode=True)

    def mended(self, chosen: Tensor, passed: Tensor, order: Tensor | None) -> Tensor:
        """Return the channels (B, C, H, W) of both parts, shuffled, or back in their places; channels last."""
        chosen, passed = chosen.permute(0, 2, 3, 1), passed.permute(0, 2, 3, 1)
        if order is not None:
            return torch.cat([chosen, passed], dim=3)[..., order.argsort()].permute(0, 3, 1, 2)
        taken = self.channels // self.parts
        groups = [chosen, *(passed[..., g * taken : (g + 1) * taken] for g in range(self.parts - 1))]
        return torch.stack(groups, dim=4).flatten(3).permute(0, 3, 1, 2)


def check_parts(parts: int, channels: int) -> None:
    """Raise UsageError, naming the nearest number that would do, unless `parts` is a divisor of `channels`."""
    if type(parts) is not int or parts < 1 or channels % parts:
        fits = [k for k in range(1, channels + 1) if channels % k == 0]
        close = min(fits, key=lambda k: abs(k - parts)) if type(parts) is int else 1
        raise UsageError(f"partial must divide the {channels} channels, which {parts!r} does not; {close} does")
