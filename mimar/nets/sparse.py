"""Convolutions and linear maps of which only the weights with the largest learned scores count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimar.core.errors import UsageError

SCORES, WEIGHT, KEEP = "scores", "weight", "keep"


class SparseConv2d(nn.Conv2d):
    """`nn.Conv2d` with weight · mask, mask = 1 at the ⌈keep · n⌉ largest |scores| (of equal ones the first), else 0.

        gradients:  scores: g · weight · sign(scores)    weight: g · mask,    g: that of the product weight · mask

    The mask lets the gradient straight through to |scores|; where scores are not negative, as at the start, theirs is the
    mask's own. At keep = 1 the output is that of the dense convolution to the last bit. `scheduled`: the ratio is a
    0-dim buffer named ``keep``, which a schedule may set; else a fixed number. `scores` has the weight's shape and starts
    at |weight| / max |weight|. Takes the arguments of `nn.Conv2d` besides. Raises UsageError for a ratio out of (0, 1].
    Source: DASS (Mousavi et al., 2022), after HYDRA (Sehwag et al., NeurIPS 2020).
    """

    def __init__(self, *sizes: Any, keep: float, scheduled: bool = False, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.keep = nn.Buffer(ratio) if isinstance(ratio := _ratio(keep, scheduled, self.weight), Tensor) else ratio
        self.step = _step(self.weight.numel())
        self.scores = nn.Parameter(_magnitudes(self.weight.detach()))

    def reset_parameters(self) -> None:
        """Draw the weights as `nn.Conv2d` does, and derive the scores from them."""
        super().reset_parameters()
        _rescored(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x` by the weights that are kept."""
        return self._conv_forward(x, _masked(self.weight, self.scores, self.keep, self.step), self.bias)


class SparseLinear(nn.Linear):
    """`nn.Linear` with weight · mask: see `SparseConv2d`."""

    def __init__(self, *sizes: Any, keep: float, scheduled: bool = False, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.keep = nn.Buffer(ratio) if isinstance(ratio := _ratio(keep, scheduled, self.weight), Tensor) else ratio
        self.step = _step(self.weight.numel())
        self.scores = nn.Parameter(_magnitudes(self.weight.detach()))

    def reset_parameters(self) -> None:
        """Draw the weights as `nn.Linear` does, and derive the scores from them."""
        super().reset_parameters()
        _rescored(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the image of `x` under the weights that are kept."""
        return F.linear(x, _masked(self.weight, self.scores, self.keep, self.step), self.bias)


def inherit_scores(named_weights: Mapping[str, Tensor]) -> None:
    """Set the scores to |w| / max |w|, in place: for each pair of names ``X.scores`` and ``X.weight``.

    Raises UsageError for scores without the weight that they are about.
    """
    with torch.no_grad():
        for name, scores in named_weights.items():
            owner, _, own = name.rpartition(".")
            if own != SCORES:
                continue
            about = f"{owner}.{WEIGHT}" if owner else WEIGHT
            if about not in named_weights:
                raise UsageError(f"the scores {name!r} are about {about!r}, which is not among the weights")
            scores.copy_(_magnitudes(named_weights[about]))


def _ratio(keep: float, scheduled: bool, like: Tensor) -> Tensor | float:
    if not 0.0 < keep <= 1.0:
        raise UsageError(f"keep is {keep!r}; it must be a number above 0 and at most 1")
    return torch.tensor(float(keep), dtype=like.dtype, device=like.device) if scheduled else float(keep)


def _rescored(module: nn.Module) -> None:
    if SCORES in module._parameters:  # torch draws the weights before there are any
        inherit_scores(module._parameters)  # type: ignore[arg-type]


def _magnitudes(weight: Tensor) -> Tensor:
    size = weight.abs()
    return size / size.max().clamp_min(torch.finfo(size.dtype).tiny) if size.numel() else size


def _masked(weight: Tensor, scores: Tensor, keep: Tensor | float, step: float) -> Tensor:
    sizes = scores.abs()
    flat = sizes.detach().flatten()
    ranks = torch.ones_like(flat, dtype=torch.float64).cumsum(0) - 1
    kept = ranks * step < keep  # without asking the device for the number
    order = flat.argsort(descending=True, stable=True)
    mask = torch.zeros_like(flat).scatter(0, order, kept.to(flat.dtype)).view_as(sizes)
    return weight * (mask + (sizes - sizes.detach()))


def _step(count: int) -> float:
    """Return s with: rank · s < k for the ⌈k · count⌉ ranks 0, 1, …, even where k is a decimal rounded to float32."""
    slack = min(2.0**-23, 0.5 / count) if count else 0.0
    return 1.0 / (max(count, 1) * (1.0 - slack))
