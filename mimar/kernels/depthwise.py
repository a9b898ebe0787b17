"""Depthwise convolutions as three operators, each the derivative of the other two, so that all derivatives exist.

    y = depthwise(x, w)        g_x = depthwise_input(g, w)        g_w = depthwise_weight(x, g)
    ⟨g, depthwise(x, w)⟩ = ⟨x, depthwise_input(g, w)⟩ = ⟨w, depthwise_weight(x, g)⟩    for all x, w, g

x (B, C, H, W), w (C, 1, k, k) with k odd, g and y (B, C, ⌈H/s⌉, ⌈W/s⌉): stride s, dilation d, padding d·⌊k/2⌋.
In main memory compiled kernels or torch's serve, as a table of measurements says (`mimar.kernels.table`), on CUDA those
of Triton; where they were not built, and for other types, the pure-torch twins. All return channels last.
Raises DataError for what does not fit.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, library
from torch.autograd import forward_ad
from torch.nn import functional as F

from mimar.core.errors import DataError, UsageError
from mimar.kernels import memory, native, table
from mimar.kernels.programs import threads
from mimar.kernels.stages import conv_size
from mimar.kernels.table import Direction

Shape = tuple[int, int, int, int]


class Size(NamedTuple):
    """Sides of everything that takes part; the order is that of csrc/single.h."""

    batch: int
    channels: int
    h: int
    w: int
    kernel: int
    stride: int
    dilation: int

    def of(self, direction: Direction) -> Shape:
        """Return the shape of what a direction makes."""
        if direction == "weight":
            return self.channels, 1, self.kernel, self.kernel
        s = self.stride if direction == "forward" else 1
        return self.batch, self.channels, conv_size(self.h, s), conv_size(self.w, s)


def _size(x: Sequence[int], w: Sequence[int], stride: int, dilation: int, a: Tensor, b: Tensor) -> Size:
    """Check what an operator was given: the shapes of x and w, and its two tensors."""
    if len(x) != 4 or min(x[1:]) < 1:
        raise DataError(f"depthwise: the input is {tuple(x)}; it must be (B, C, H, W) with no empty picture")
    if len(w) != 4 or w[0] != x[1] or w[1] != 1 or w[2] != w[3] or w[2] % 2 == 0:
        raise DataError(f"depthwise: the weights are {tuple(w)}; they must be ({x[1]}, 1, k, k) with k odd")
    if stride < 1 or dilation < 1:
        raise DataError(f"depthwise: stride {stride} and dilation {dilation} must both be at least 1")
    if a.dtype != b.dtype or a.device != b.device or not a.is_floating_point():
        found = " and ".join(f"{t.dtype} on {t.device}" for t in (a, b))
        raise DataError(f"depthwise: the tensors are {found}; both must be of one floating type on one device")
    return Size(x[0], x[1], x[2], x[3], w[2], stride, dilation)


def _of_x(x: Tensor, w: Tensor, stride: int, dilation: int) -> Size:
    return _size(x.shape, w.shape, stride, dilation, x, w)


def _of_g(g: Tensor, w: Tensor, h: int, w_size: int, stride: int, dilation: int) -> Size:
    return _fits(g, _size((*g.shape[:2], h, w_size), w.shape, stride, dilation, g, w))


def _of_both(x: Tensor, g: Tensor, kernel: int, stride: int, dilation: int) -> Size:
    return _fits(g, _size(x.shape, (*x.shape[1:2], 1, kernel, kernel), stride, dilation, x, g))


def _fits(g: Tensor, size: Size) -> Size:
    if tuple(g.shape) != size.of("forward"):
        raise DataError(f"depthwise: the gradient is {tuple(g.shape)}; it must be {size.of('forward')}")
    return size


# --- who does it --------------------------------------------------------------------------------------------------


@cache
def triton() -> ModuleType | None:
    """Return the Triton kernels, or None where Triton cannot be imported."""
    try:
        from mimar.kernels import triton_depthwise
    except ImportError:
        return None
    return triton_depthwise


def _run(direction: Direction, size: Size, a: Tensor, b: Tensor) -> Tensor:
    """Return the result of one direction from its two tensors."""
    if not size.batch:
        return _empty(direction, size, a).zero_()
    if a.is_cuda and triton() is not None:
        return (by_triton if _ours("triton", direction, size, a.dtype) else by_torch)(direction, size, a, b)
    if native.serves(a, b) and _ours(native.described(), direction, size, a.dtype):
        return compiled(direction, size, a, b)
    return by_torch(direction, size, a, b)


def _ours(instructions: str, direction: Direction, size: Size, dtype: torch.dtype) -> bool:
    place = (size.kernel, size.stride, size.dilation, size.channels, math.sqrt(size.h * size.w))
    return table.current().ours(instructions, dtype, direction, place)


def _empty(direction: Direction, size: Size, like: Tensor) -> Tensor:
    shape, strides = _layout(size.of(direction))
    return like.new_empty_strided(shape, strides)


def _layout(shape: Shape) -> tuple[Shape, Shape]:
    """Return a shape with the strides of channels last; for weights (C, 1, k, k) that is the usual order too."""
    _, c, h, w = shape
    return shape, (h * w * c, 1, w * c, c)


def _last(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=torch.channels_last)


def compiled(direction: Direction, size: Size, a: Tensor, b: Tensor) -> Tensor:
    """Run the compiled kernels."""
    a, b, out = _last(a), _last(b), memory.empty(torch.Size(size.of(direction)), a.dtype)
    head = (table.DIRECTIONS.index(direction), a.dtype == torch.float64, threads(size[:4]), *size)
    native.depthwise(array("q", (*head, a.data_ptr(), b.data_ptr(), out.data_ptr())))
    return out


def by_triton(direction: Direction, size: Size, a: Tensor, b: Tensor) -> Tensor:
    """Run the Triton kernels."""
    kernels, out = triton(), _empty(direction, size, a)
    assert kernels is not None
    kernels.run(direction, size, _last(a), _last(b), out)
    return out


def by_torch(direction: Direction, size: Size, a: Tensor, b: Tensor) -> Tensor:
    """Run the twin: torch's own kernels. Where the stride is 1 the gradient to the input is a convolution too."""
    s, d, pad, many = size.stride, size.dilation, size.dilation * (size.kernel // 2), size.channels
    usual = a.dtype == torch.float64 or (direction != "forward" and s > 1 and d > 1)  # there torch crawls channels last
    form = torch.contiguous_format if usual else torch.channels_last
    a, b = (t.contiguous(memory_format=form) for t in (a, b))
    with torch.autocast(a.device.type, enabled=False):  # the type of the result is that of the tensors
        if direction == "forward" or (direction == "input" and s == 1):
            found = F.conv2d(a, b.flip(2, 3) if direction == "input" else b, None, s, pad, d, many)
        else:
            blank = torch.empty(size.of(direction), dtype=a.dtype, device=a.device, memory_format=form)
            x, g, w = (blank, a, b) if direction == "input" else (a, b, blank)
            wanted = [direction == "input", direction == "weight", False]
            words = ([s, s], [pad, pad], [d, d], False, [0, 0], many, wanted)
            found = torch.ops.aten.convolution_backward(g, x, w, None, *words)[wanted.index(True)]
    return _last(found).as_strided_(*_layout(size.of(direction)))  # strides of sides of one pixel may have differed


# --- the operators ------------------------------------------------------------------------------------------------


def _register(direction: Direction, schema: str, size: Callable[..., Size]) -> Any:
    """Define one operator: what it does, and of what shape the result is."""
    name = schema.partition("(")[0]

    def real(a: Tensor, b: Tensor, *words: int) -> Tensor:
        if forward_ad._current_level >= 0:  # torch would take the tangent for zero
            raise UsageError(f"mimar::{name} has no forward-mode derivative; mimar.kernels.depthwise.depthwise has")
        return _run(direction, size(a, b, *words), a, b)

    def fake(a: Tensor, b: Tensor, *words: int) -> Tensor:
        return _empty(direction, size(a, b, *words), a)

    library.define(f"mimar::{name}", schema.removeprefix(name), tags=torch.Tag.pt2_compliant_tag)
    library.impl(f"mimar::{name}", "default", real)
    library.register_fake(f"mimar::{name}", fake)
    return getattr(torch.ops.mimar, name).default


END = "int stride, int dilation) -> Tensor"
_output = _register("forward", f"depthwise(Tensor x, Tensor w, {END}", _of_x)
depthwise_input = _register("input", f"depthwise_input(Tensor g, Tensor w, SymInt h, SymInt w_size, {END}", _of_g)
depthwise_weight = _register("weight", f"depthwise_weight(Tensor x, Tensor g, int kernel, {END}", _of_both)


def depthwise(x: Tensor, w: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Return y = x * w; under autocast in its type, as torch's convolutions.

    Under `torch.func` and forward-mode derivatives, which a registered operator does not know, torch's convolution serves.
    """
    if torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0:
        _of_x(x, w, stride, dilation)
        return F.conv2d(x, w, None, stride, dilation * (w.shape[-1] // 2), dilation, len(w))
    where = x.device.type
    if torch.amp.is_autocast_available(where) and torch.is_autocast_enabled(where):
        kind = torch.get_autocast_dtype(where)
        x, w = x.to(kind), w.to(kind)
    return _output(x, w, stride, dilation)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.words = inputs[-2:]  # stride and dilation


def _back(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    x, w = ctx.saved_tensors
    needs = ctx.needs_input_grad
    g_x = depthwise_input(g, w, x.shape[2], x.shape[3], *ctx.words) if needs[0] else None
    return g_x, depthwise_weight(x, g, w.shape[2], *ctx.words) if needs[1] else None, None, None


def _back_of_input(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
    g, w = ctx.saved_tensors
    needs = ctx.needs_input_grad
    g_g = _output(u, w, *ctx.words) if needs[0] else None
    return g_g, depthwise_weight(u, g, w.shape[2], *ctx.words) if needs[1] else None, *(None,) * 4


def _back_of_weight(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
    x, g = ctx.saved_tensors
    needs = ctx.needs_input_grad
    g_x = depthwise_input(g, u, x.shape[2], x.shape[3], *ctx.words) if needs[0] else None
    return g_x, _output(x, u, *ctx.words) if needs[1] else None, *(None,) * 3


library.register_autograd("mimar::depthwise", _back, setup_context=_keep)
library.register_autograd("mimar::depthwise_input", _back_of_input, setup_context=_keep)
library.register_autograd("mimar::depthwise_weight", _back_of_weight, setup_context=_keep)
