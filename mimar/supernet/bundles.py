"""What an operation does, told by the operation: plain torch modules by their type, an own class by its method `bundle`.

    class MyOperation(nn.Module):
        def bundle(self) -> Iterable[nn.Module]: return self.relu, self.conv, self.norm   # what forward does, in order

An operation that cannot be told in these words is run on its own, by its `forward`: nothing needs to know of bundling.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from torch import nn

from mimar.kernels.stages import Chain, Stage, Vanishing

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@runtime_checkable
class Bundled(Protocol):
    """An operation that says what it is made of."""

    def bundle(self) -> Iterable[nn.Module | Stage]:
        """Return what `forward` applies, one after the other; `Vanishing` stands for an output of zeros."""


class Bundle(NamedTuple):
    """An option as the engine sees it: its chain (None: run it on its own), and where hooks would be."""

    chain: Chain | None
    zero: bool
    hooks: tuple[dict, ...]  # of all its modules: an option with hooks is run on its own, so that they are called
    changes: bool = False  # whether it changes its input in place, which later options then see


def bundle(module: nn.Module) -> Bundle:
    """Return what an option does, as far as it can be told."""
    hooks = tuple(getattr(m, name) for m in module.modules() for name in HOOKS)
    parts = [m for m in _flat(module) if type(m) is not nn.Identity]
    if any(isinstance(m, Vanishing) for m in parts):  # zeros alone: what follows them may make something of them
        zero = isinstance(parts[-1], Vanishing) and all(type(m) is nn.ReLU for m in parts[:-1])
        return Bundle(None, zero, hooks)
    return Bundle(_chain(parts), False, hooks, bool(parts) and getattr(parts[0], "inplace", False) is True)


def _flat(module: nn.Module | Stage) -> Iterator[nn.Module | Stage]:
    parts: Iterable[nn.Module | Stage] = (module,)
    if type(module) is nn.Sequential:
        parts = module.children()
    elif isinstance(module, Bundled):
        parts = module.bundle()
    for part in parts:
        if part is module:
            yield part
        else:
            yield from _flat(part)


def _chain(parts: list[Any]) -> Chain | None:
    chain: list[Stage] = []
    while parts:
        if isinstance(parts[0], Stage):
            if any(type(m) not in (nn.Conv2d, nn.BatchNorm2d) for m in parts[0].modules):
                return None  # a stage reads their weights, of which a class of its own makes something else
            chain.append(parts[0])
            parts = parts[1:]
            continue
        relu = type(parts[0]) is nn.ReLU
        rest = parts[1:] if relu else parts
        stage, used = _pool(rest) if not relu and not chain else (None, 0)
        if stage is None:
            stage, used = _conv(rest, relu)
        if stage is None:
            return None
        chain.append(stage)
        parts = rest[used:]
    return tuple(chain)


def _norm(parts: list[Any]) -> nn.BatchNorm2d | None:
    found = parts[0] if parts else None
    fits = type(found) is nn.BatchNorm2d and (found.momentum is not None or not found.track_running_stats)
    return found if fits else None


def _conv(parts: list[Any], relu: bool) -> tuple[Stage | None, int]:
    used, depthwise, kernel, stride, dilation = 0, None, 0, 1, 1
    if parts and _depthwise(parts[0]):
        depthwise, used = parts[0], 1
        kernel, stride, dilation = depthwise.kernel_size[0], depthwise.stride[0], depthwise.dilation[0]
    if len(parts) <= used or not _dense(parts[used], only=1 if depthwise else None):
        return None, 0
    dense, used = parts[used], used + 1
    norm = _norm(parts[used:])
    return Stage("conv", relu, depthwise, dense, norm, kernel, stride, dilation), used + (norm is not None)


def _same(conv: Any) -> bool:
    """Whether a convolution is square, of odd side, without bias, and keeps the size but for its stride."""
    if type(conv) is not nn.Conv2d or conv.bias is not None or conv.padding_mode != "zeros":
        return False
    k, s, d, p = conv.kernel_size, conv.stride, conv.dilation, conv.padding
    return bool(k[0] == k[1] and s[0] == s[1] and d[0] == d[1] and k[0] % 2 == 1 and p == (d[0] * (k[0] // 2),) * 2)


def _depthwise(conv: Any) -> bool:
    return _same(conv) and bool(conv.groups == conv.in_channels == conv.out_channels > 1)


def _dense(conv: Any, only: int | None) -> bool:
    if not (_same(conv) and conv.groups == 1 and conv.stride[0] == 1 and conv.dilation[0] == 1):
        return False
    return only is None or bool(conv.kernel_size[0] == only)


def _pool(parts: list[Any]) -> tuple[Stage | None, int]:
    pool: Any = parts[0] if parts else None
    if type(pool) not in (nn.AvgPool2d, nn.MaxPool2d):
        return None, 0
    kernel, stride, pad = (_pair(v) for v in (pool.kernel_size, pool.stride, pool.padding))
    if kernel[0] != kernel[1] or kernel[0] % 2 == 0 or stride[0] != stride[1] or pad != (kernel[0] // 2,) * 2:
        return None, 0
    if pool.ceil_mode and stride[0] > 1:
        return None, 0
    if type(pool) is nn.AvgPool2d:
        if pool.count_include_pad or pool.divisor_override is not None:
            return None, 0
        kind: Literal["average", "maximum"] = "average"
    else:
        if _pair(pool.dilation) != (1, 1) or pool.return_indices:
            return None, 0
        kind = "maximum"
    norm = _norm(parts[1:])
    return Stage(kind, norm=norm, kernel=kernel[0], stride=stride[0]), 1 + (norm is not None)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
