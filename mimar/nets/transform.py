"""A network that computes what a smaller one does, with more weights: wider, deeper, of larger kernels.

    wider   g(j) = j for j ≤ n, else a random j ≤ n;   Ŵ[j, i] = W[g(j), g'(i)] / |{k: g'(k) = g'(i)}|
    deeper  an empty place becomes a convolution that is the identity, its norm undone by its own scale and shift
    larger  a kernel is padded with zeros

g maps the channels of the larger network to those of the smaller; g' is that of the layer before. In evaluation mode the
two compute the same but for rounding, in training mode nearly: an inserted norm has the statistics of some examples.
Source: Chen, Goodfellow, Shlens, "Net2Net", 2016; Cai et al., "Efficient architecture search by network
transformation", 2018, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mimar.core.errors import SpaceError
from mimar.core.streams import Rng, generator
from mimar.space.chains import SKIP, ends, kind

NOISE = (1e-2, 1e-3)  # the release's, relative to the standard deviation of weights: of copies, of inserted layers
CONV = "conv"
M = TypeVar("M", bound=nn.Module)


class Edge(Protocol):
    """One chosen option of a plain network."""

    @property
    def choice(self) -> str: ...
    @property
    def option(self) -> str: ...
    @property
    def module(self) -> nn.Module: ...


class Plain(Protocol):
    """A plain network and its chosen options, as `mimar.supernet.chosen` returns it."""

    @property
    def net(self) -> nn.Module: ...
    @property
    def edges(self) -> Sequence[Any]: ...


@dataclass(frozen=True)
class Inheritance:
    """How the networks of a chain of places take their weights from smaller ones.

    `names` are the choices of the chain, with options "in-out-convK" and "width-width-skip"; every option reads the first
    channels of a map that is never negative, and `head` ends in the one linear layer. Whatever is neither in an option
    nor in the head is copied.
    """

    names: tuple[str, ...]
    head: str = "head"

    def contains(self, child: Mapping[str, Any], parent: Mapping[str, Any]) -> bool:
        """Tell whether a network can be grown into another: place by place no narrower, no convolution less or smaller."""
        return all(_contains(child[name], parent[name]) for name in self.names)

    def __call__(
        self, parent: Plain, child: Plain, rng: Rng, examples: Tensor, noise: tuple[float, float] = NOISE
    ) -> None:
        """Fill the child's tensors, so that in evaluation mode it computes what the parent does where `noise` is 0.

        `examples` (B, channels, H, W) give the statistics of inserted norms. `noise`: relative standard deviations of what
        is added to copied filters and to inserted ones, which breaks their symmetry. Raises SpaceError unless the child
        contains the parent.
        """
        ours, theirs = ({e.choice: e for e in one.edges} for one in (child, parent))
        small, large = ({n: str(e[n].option) for n in self.names} for e in (theirs, ours))
        if not self.contains(large, small):
            raise SpaceError(f"the network {large} does not contain {small}: it cannot be grown out of it")
        grow = _Growth(generator(rng), noise)
        with torch.no_grad():
            _copy_rest(child, parent, self.head)
            with _inputs(parent, self.names) as seen:
                parent.net(examples)
            g = torch.arange(int(ends(small[self.names[0]])[0]))
            for name in self.names:
                g = grow.place(ours[name], theirs[name], g, seen[name])
            last, its_last = (_only(one.net.get_submodule(self.head), nn.Linear) for one in (child, parent))
            grow.head(last, its_last, g)


def _contains(child: str, parent: str) -> bool:
    (c_in, c_out), (p_in, p_out) = (tuple(map(int, ends(one))) for one in (child, parent))
    if c_in < p_in or c_out < p_out:
        return False
    return kind(parent) == SKIP or (kind(child) != SKIP and _size(child) >= _size(parent))


def _size(option: str) -> int:
    return int(kind(option).removeprefix(CONV))


class _Parts(NamedTuple):
    """Convolution and norm of a place that is not empty."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d


@dataclass
class _Growth:
    """One growth under way; g (width,) are the parent's channels that the child's carry."""

    rng: torch.Generator
    noise: tuple[float, float]

    def place(self, child: Edge, parent: Edge, g: Tensor, seen: Tensor) -> Tensor:
        """Fill one place, which the parent enters with `seen` (B, C, H, W); return g of the channels that it leaves."""
        if kind(child.option) == SKIP:
            return g
        ours = _parts(child.module)
        if kind(parent.option) == SKIP:
            h = self._more(len(g), ours.conv.out_channels)
            self._identity(ours, h, seen[:, g[h]])
            return g[h]
        theirs = _parts(parent.module)
        n = theirs.conv.out_channels
        found = self._more(n, ours.conv.out_channels)
        weight = theirs.conv.weight[found][:, g] / _counts(g, theirs.conv.weight)[:, None, None]  # (out, in, k, k)
        weight[n:] += self._noise(weight[n:], self.noise[0] * theirs.conv.weight.std(correction=0))
        rim = (ours.conv.kernel_size[0] - theirs.conv.kernel_size[0]) // 2
        ours.conv.weight.copy_(nn.functional.pad(weight, (rim,) * 4))
        held = theirs.norm.state_dict()
        ours.norm.load_state_dict({name: value[found] if value.ndim else value for name, value in held.items()})
        return found

    def head(self, child: nn.Linear, parent: nn.Linear, g: Tensor) -> None:
        """Share the columns of a classifier among the channels that carry the same."""
        child.load_state_dict(parent.state_dict())
        child.weight[:, : len(g)] = parent.weight[:, g] / _counts(g, parent.weight)

    def _more(self, n: int, width: int) -> Tensor:
        """Return (width,): the first n numbers, then random ones of them."""
        return torch.cat([torch.arange(n), torch.randint(n, (width - n,), generator=self.rng)])

    def _identity(self, ours: _Parts, h: Tensor, y: Tensor) -> None:
        """Let output k be the input h[k]; `y` (B, out, H, W) is what it is on examples, whose statistics the norm has."""
        conv, norm = ours
        middle = conv.kernel_size[0] // 2
        conv.weight.zero_()
        conv.weight[torch.arange(len(h)), h, middle, middle] = 1.0
        conv.weight += self._noise(conv.weight, self.noise[1] * conv.weight.std(correction=0))
        var, mean = torch.var_mean(y, (0, 2, 3), correction=0)
        values = {"running_mean": mean, "running_var": var, "weight": (var + norm.eps).sqrt(), "bias": mean}
        norm.load_state_dict({**norm.state_dict(), **values})

    def _noise(self, like: Tensor, spread: Tensor) -> Tensor:
        return spread * torch.randn(like.shape, generator=self.rng, dtype=torch.float64).to(like)


def _counts(g: Tensor, like: Tensor) -> Tensor:
    """Return, for each channel, how many carry the same."""
    return g.bincount()[g].to(like)


def _parts(option: nn.Module) -> _Parts:
    return _Parts(_only(option, nn.Conv2d), _only(option, nn.BatchNorm2d))


def _only(module: nn.Module, kind: type[M]) -> M:
    (found,) = (m for m in module.modules() if isinstance(m, kind))
    return found


def _copy_rest(child: Plain, parent: Plain, head: str) -> None:
    """Copy what is neither in an option nor in the head."""
    targets = _tensors(child.net)
    inside = {id(t) for edge in (*child.edges, *parent.edges) for t in _tensors(edge.module).values()}
    for name, value in _tensors(parent.net).items():
        if id(value) not in inside and not name.startswith(f"{head}."):
            targets[name].copy_(value)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@contextmanager
def _inputs(parent: Plain, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Note, inside the block, what enters each chosen option of a network, which is in evaluation mode there."""
    seen: dict[str, Tensor] = {}
    hooks = [
        edge.module.register_forward_pre_hook(lambda _, given, name=edge.choice: seen.update({name: given[0]}))
        for edge in parent.edges
        if edge.choice in names
    ]
    was = parent.net.training
    parent.net.eval()
    try:
        yield seen
    finally:
        parent.net.train(was)
        for hook in hooks:
            hook.remove()
