"""Convolutions of signs by signs."""

from __future__ import annotations

from torch import Tensor, nn


class BinaryConv2d(nn.Conv2d):
    """`nn.Conv2d` on signs: y = conv(sign(x), sign(w)) · mean |w|, the mean taken for each output channel; sign(0) = 1.

    Signs let the gradient straight through where |·| ≤ 1, and stop it elsewhere. Padding is by zeros, after the sign. A
    ReLU before it leaves no sign to take: put none. The mean is differentiated as it stands.
    Source: XNOR-Net (Rastegari et al., ECCV 2016), without its scaling map of the input.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return y, plus the bias where there is one."""
        y = self._conv_forward(
            signs(x), signs(self.weight), None
        )  # whole numbers: exact, and a zero is zero everywhere
        y = y * self.weight.abs().mean(dim=(1, 2, 3))[:, None, None]
        return y if self.bias is None else y + self.bias[:, None, None]


def signs(x: Tensor) -> Tensor:
    """Return 1 where x ≥ 0, else −1; its derivative is taken to be 1 where |x| ≤ 1, else 0."""
    clipped = x.clamp(-1.0, 1.0)
    return (x.detach() >= 0).to(x.dtype) * 2 - 1 + (clipped - clipped.detach())
