"""What sampled relaxations share: noise, falling temperatures, and the choice of one option."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from mimar.gradient.relax.parts import Alphas, Context, Gates, open_gates

Curve = Literal["linear", "exponential"]


def annealed(start: float, end: float, progress: float, curve: Curve = "linear") -> float:
    """Return the value between `start` and `end` at this part of the whole search, linearly or by equal factors."""
    if curve == "linear":
        return start + (end - start) * progress
    return start * (end / start) ** progress


def gumbel(alpha: Tensor, rng: torch.Generator) -> Tensor:
    """Return standard Gumbel noise −log(−log U) in the shape of `alpha`; the same draws for every type and device."""
    uniform = torch.rand(alpha.shape, generator=rng, dtype=torch.float64).clamp_min(1e-300)
    return -torch.log(-torch.log(uniform)).to(alpha)


def log_probability(alpha: Tensor, option: int) -> Tensor:
    """Return log softmax(α) of one option, differentiable in α."""
    return torch.log_softmax(alpha, dim=-1)[option]


def only_one(found: Gates, choice: str, option: int) -> Tensor:
    """Let `option` alone run, and return its one-hot vector in the type of the choice's gate."""
    gate = found[choice]
    found.only(choice, tuple(i == option for i in range(len(gate))))
    return torch.nn.functional.one_hot(torch.tensor(option), len(gate)).to(gate)


def completed(found: Gates, alphas: Alphas, ctx: Context) -> Gates:
    """Return the gates together with open ones for the choices of kind `some`."""
    return found | open_gates(ctx.space, next(iter(alphas.values()), torch.zeros(())))


def concrete_log_density(z: Tensor, alpha: Tensor, tau: float) -> Tensor:
    """Return the log density of the concrete distribution of softmax((α + G) / τ) at `z` (…, n) on the simplex.

        log (n−1)! + (n−1) log τ + Σ_k (α_k − (τ+1) log z_k) − n log Σ_k exp(α_k) z_k^−τ

    With respect to any n − 1 of the coordinates. Source: Maddison, Mnih, Teh, "The Concrete Distribution", 2017, equation 10.
    """
    return log_density(z.log(), alpha, tau)


def log_density(log_z: Tensor, alpha: Tensor, tau: float) -> Tensor:
    """Return the same from log z, which a sample at a low temperature has and its z, rounded to zero, has not."""
    n = alpha.shape[-1]
    terms = (alpha - (tau + 1) * log_z).sum(-1) - n * torch.logsumexp(alpha - tau * log_z, dim=-1)
    return terms + math.lgamma(n) + (n - 1) * math.log(tau)
