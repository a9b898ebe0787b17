"""Random crop, flip and cutout of a whole batch at once, from an explicit stream."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mimar.core.errors import UsageError


@dataclass(frozen=True)
class Augment:
    """Shift by up to `crop` pixels, mirror half of the images if `flip`, then erase one `cutout` × `cutout` square.

    x (B, C, H, W) → the same shape and type. The shift equals padding by `crop` and cutting a random window of the old
    size. The border shows `fill` (a number, or one per channel as (C, 1, 1)); tasks pass the normalised value of black,
    so that the order of the DARTS release (crop and flip raw images, normalise, cutout to zero) is kept. The square's
    centre is uniform over the image, so that it may stick out, as in DeVries and Taylor (2017).
    All draws come from `rng` (a CPU generator), one tensor for each effect that is switched on.
    Raises UsageError when crop or cutout does not fit the images.
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        for key in ("crop", "cutout"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise UsageError(f"{key} must be a whole number of pixels, 0 or more; got {value!r}")
        if not isinstance(self.flip, bool):
            raise UsageError(f"flip must be True or False; got {self.flip!r}")

    def __call__(self, x: Tensor, rng: torch.Generator, *, fill: Tensor | float = 0.0) -> Tensor:
        height, width = x.shape[-2:]
        if self.crop >= min(height, width):
            raise UsageError(
                f"crop {self.crop} leaves nothing of {height}×{width} images; use less than the shorter side"
            )
        if self.cutout >= max(height, width):
            raise UsageError(
                f"cutout {self.cutout} erases {height}×{width} images whole; use less than the longer side"
            )
        if self.crop or self.flip:
            x = self._moved(x, rng, fill)
        return self._erased(x, rng) if self.cutout else x

    def _moved(self, x: Tensor, rng: torch.Generator, fill: Tensor | float) -> Tensor:
        batch, channels, height, width = x.shape
        rows = torch.arange(height).expand(batch, height)
        cols = torch.arange(width).expand(batch, width)
        if self.crop:
            shift = torch.randint(-self.crop, self.crop + 1, (2, batch, 1), generator=rng)
            rows, cols = rows + shift[0], cols + shift[1]
        if self.flip:
            mirrored = torch.rand(batch, 1, generator=rng) < 0.5
            cols = torch.where(mirrored, cols.flip(1), cols)
        source = rows.clamp(0, height - 1)[:, :, None] * width + cols.clamp(0, width - 1)[:, None, :]  # (B, H, W)
        index = source.view(batch, 1, height * width).expand(-1, channels, -1).to(x.device)
        moved = x.flatten(2).gather(2, index).view_as(x)
        if not self.crop:
            return moved
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((cols >= 0) & (cols < width))[:, None, :]
        border = torch.as_tensor(fill, dtype=x.dtype, device=x.device)
        return torch.where(inside[:, None].to(x.device), moved, border)

    def _erased(self, x: Tensor, rng: torch.Generator) -> Tensor:
        batch, _, height, width = x.shape
        top = torch.randint(height, (batch, 1), generator=rng) - self.cutout // 2
        left = torch.randint(width, (batch, 1), generator=rng) - self.cutout // 2
        rows, cols = torch.arange(height) - top, torch.arange(width) - left  # (B, H), (B, W)
        hit = ((rows >= 0) & (rows < self.cutout))[:, :, None] & ((cols >= 0) & (cols < self.cutout))[:, None, :]
        return x.masked_fill(hit[:, None].to(x.device), 0)


BY_SIDE = (
    Augment()
)  # the default of a set, told from an equal value by identity: each task replaces it when constructed


def resolved(augment: Augment | None, side: int, *, flip: bool) -> Augment | None:
    """Return the default of a set for BY_SIDE, a shift by up to an eighth of the side, and any other value as it is."""
    return Augment(crop=side // 8, flip=flip) if augment is BY_SIDE else augment
