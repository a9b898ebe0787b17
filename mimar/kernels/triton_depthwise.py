"""The depthwise kernels on CUDA, in Triton: tensors channels last, sums in float32 (float64 for float64).

Blocks of pixels × channels; a weight gradient is a sum over a fixed number of parts, then over the parts: equal runs give
equal bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

if TYPE_CHECKING:
    from mimar.kernels.depthwise import Size
    from mimar.kernels.table import Direction

BLOCK = 1024  # pixels · channels
PARTS = 64  # of the sum of a weight gradient


@triton.jit
def _block(pixels: tl.tensor, C: tl.tensor, H: tl.tensor, W: tl.tensor, P: tl.constexpr, N: tl.constexpr) -> tl.tensor:
    """Return this program's pixels and channels, the pixels' pictures and places, and what is inside."""
    p = tl.program_id(0).to(tl.int64) * P + tl.arange(0, P)
    c = tl.program_id(1) * N + tl.arange(0, N)
    return p, c, p // (H * W), p // W % H, p % W, (p < pixels)[:, None] & (c < C)[None, :]


@triton.jit
def _forward(
    x: tl.tensor,
    weights: tl.tensor,
    y: tl.tensor,
    pixels: tl.tensor,
    C: tl.tensor,
    H: tl.tensor,
    W: tl.tensor,
    HO: tl.tensor,
    WO: tl.tensor,
    K: tl.constexpr,
    S: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    SUM: tl.constexpr,
) -> None:
    """y[b, i, j, c] = Σ_t x[b, i·s + t_y·d − pad, j·s + t_x·d − pad, c] · w[c, t]."""
    p, c, b, i, j, inside = _block(pixels, C, HO, WO, P, N)
    total = tl.zeros((P, N), SUM)
    for t in tl.static_range(K * K):
        h, w = i * S + (t // K - K // 2) * D, j * S + (t % K - K // 2) * D
        seen = inside & ((h >= 0) & (h < H) & (w >= 0) & (w < W))[:, None]
        here = tl.load(x + ((b * H + h) * W + w)[:, None] * C + c[None, :], mask=seen, other=0.0)
        total += here.to(SUM) * tl.load(weights + c * (K * K) + t, mask=c < C, other=0.0).to(SUM)[None, :]
    tl.store(y + p[:, None] * C + c[None, :], total, mask=inside)


@triton.jit
def _input(
    g: tl.tensor,
    weights: tl.tensor,
    out: tl.tensor,
    pixels: tl.tensor,
    C: tl.tensor,
    H: tl.tensor,
    W: tl.tensor,
    HO: tl.tensor,
    WO: tl.tensor,
    K: tl.constexpr,
    S: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    SUM: tl.constexpr,
) -> None:
    """out[b, h, w, c] = Σ_t g[b, (h + pad − t_y·d) / s, (w + pad − t_x·d) / s, c] · w[c, t] where s divides."""
    p, c, b, h, w, inside = _block(pixels, C, H, W, P, N)
    total = tl.zeros((P, N), SUM)
    for t in tl.static_range(K * K):
        y, x = h + (K // 2 - t // K) * D, w + (K // 2 - t % K) * D
        i, j = y // S, x // S
        seen = (y >= 0) & (x >= 0) & (y % S == 0) & (x % S == 0) & (i < HO) & (j < WO)
        here = tl.load(g + ((b * HO + i) * WO + j)[:, None] * C + c[None, :], mask=inside & seen[:, None], other=0.0)
        total += here.to(SUM) * tl.load(weights + c * (K * K) + t, mask=c < C, other=0.0).to(SUM)[None, :]
    tl.store(out + p[:, None] * C + c[None, :], total, mask=inside)


@triton.jit
def _weight(
    x: tl.tensor,
    g: tl.tensor,
    parts: tl.tensor,
    pixels: tl.tensor,
    C: tl.tensor,
    H: tl.tensor,
    W: tl.tensor,
    HO: tl.tensor,
    WO: tl.tensor,
    K: tl.constexpr,
    S: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    SUM: tl.constexpr,
) -> None:
    """parts[part, t, c] = Σ over the part's outputs of x[b, i·s + t_y·d − pad, j·s + t_x·d − pad, c] · g[b, i, j, c]."""
    part, t = tl.program_id(0), tl.program_id(2)
    c = tl.program_id(1) * N + tl.arange(0, N)
    total = tl.zeros((P, N), SUM)
    for first in range(part * P, pixels, tl.num_programs(0) * P):
        p = tl.arange(0, P).to(tl.int64) + first
        b, i, j = p // (HO * WO), p // WO % HO, p % WO
        h, w = i * S + (t // K - K // 2) * D, j * S + (t % K - K // 2) * D
        inside = (p < pixels)[:, None] & (c < C)[None, :]
        seen = inside & ((h >= 0) & (h < H) & (w >= 0) & (w < W))[:, None]
        here = tl.load(x + ((b * H + h) * W + w)[:, None] * C + c[None, :], mask=seen, other=0.0)
        total += here.to(SUM) * tl.load(g + p[:, None] * C + c[None, :], mask=inside, other=0.0).to(SUM)
    tl.store(parts + (part * K * K + t) * C + c, tl.sum(total, 0), mask=c < C)


def run(direction: Direction, size: Size, a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write the result of one direction into `out`; the tensors as `mimar.kernels.depthwise` lays them out."""
    batch, c, h, w, k, s, d = size
    ho, wo = size.of("forward")[2:]
    n = min(64, triton.next_power_of_2(c))
    pixels = batch * (h * w if direction == "input" else ho * wo)
    wide = torch.float64 if a.dtype == torch.float64 else torch.float32
    constants = {
        "K": k,
        "S": s,
        "D": d,
        "P": BLOCK // n,
        "N": n,
        "SUM": tl.float64 if wide == torch.float64 else tl.float32,
    }
    numbers = (pixels, c, h, w, ho, wo)
    if direction == "weight":
        count = min(PARTS, triton.cdiv(pixels, constants["P"]))
        parts = a.new_empty((count, k * k, c), dtype=wide)
        _weight[count, triton.cdiv(c, n), k * k](a, b, parts, *numbers, **constants)
        out.copy_(parts.sum(0).t().view(c, 1, k, k))
    else:
        grid = (triton.cdiv(pixels, constants["P"]), triton.cdiv(c, n))
        (_forward if direction == "forward" else _input)[grid](a, b, out, *numbers, **constants)
