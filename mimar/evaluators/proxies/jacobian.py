"""Scores from how differently a network answers to different inputs: J_b = ∂(Σ outputs of sample b)/∂x_b.

jacob_cov  v = eigenvalues of corrcoef(J);   −Σ [log(v + k) + 1 / (v + k)],   k = 1e-5
epe_nas    the same correlations within each class c;   Σ_c |Σ_ij log(|corr_ij| + k)|
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mimar.evaluators.proxies.parts import Direction, private, slopes
from mimar.tasks.protocol import Batch

SMALL = 1e-5
MANY = 100  # classes; beyond them classes are compared with each other


@dataclass(frozen=True)
class JacobianCovariance:
    """−Σ [log(v + k) + 1 / (v + k)] over the eigenvalues v of the correlations of the samples' Jacobians.

    NaN where a sample's Jacobian is constant, as in a network that lets nothing through. Source: Mellor, Turner, Storkey
    and Crowley, "Neural Architecture Search without Training", version 1, 2020; Abdelfattah et al., 2021.
    """

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score; labels are not used."""
        matrix = correlations(jacobian(net, batch, seed)[0])
        if not torch.isfinite(matrix).all():
            return math.nan
        v = torch.linalg.eigvalsh(matrix).clamp(min=0.0) + SMALL
        return -float((v.log() + 1.0 / v).sum())

    def passes(self, size: int) -> float:
        """Return 3 a sample."""
        return 3.0 * size


@dataclass(frozen=True)
class ClassJacobians:
    """Σ over classes of |Σ_ij log(|corr_ij| + k)|, corr the correlations of Jacobians within the class.

    With more than 100 outputs: the mean over classes c of Σ_c' |s_c − s_c'|, s_c = Σ_ij log(|corr_ij| + k) / n_c.
    Source: Lopes, Alirezazadeh and Alexandre, "EPE-NAS", 2021.
    """

    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score; NaN where a sample's Jacobian is constant."""
        rows, outputs = jacobian(net, batch, seed)
        sums: list[Tensor] = []
        for label in batch.y.unique():
            found = correlations(rows[batch.y == label])
            total = (found.abs() + SMALL).log().sum()
            sums.append(total / len(found) if outputs > MANY else total)
        s = torch.stack(sums)
        if outputs <= MANY:
            return float(s.abs().sum())
        return float((s[:, None] - s[None, :]).abs().sum() / len(s))

    def passes(self, size: int) -> float:
        """Return 3 a sample."""
        return 3.0 * size


def jacobian(net: nn.Module, batch: Batch, seed: int = 0) -> tuple[Tensor, int]:
    """Return J (B, D) in float64, one row a sample, and the number of outputs K."""
    with private(net, seed) as double:
        x = batch.x.detach().clone().requires_grad_()
        output = double(x)
        (found,) = slopes(output.sum(), [x]) if output.requires_grad else (torch.zeros_like(x),)
    return found.flatten(1).double(), output.flatten(1).shape[1]


def correlations(rows: Tensor) -> Tensor:
    """Return the correlations between rows (n, D): (n, n); NaN where a row is constant, one for a row with itself alone."""
    if len(rows) == 1:
        return torch.ones(1, 1, dtype=rows.dtype)
    centred = rows - rows.mean(1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True)
    return unit @ unit.T
