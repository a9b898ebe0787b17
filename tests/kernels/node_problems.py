"""Nodes of every kind with their twins, and what is measured of both: for the tests of the compiled node."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mimar.core.streams import isolated, stream
from mimar.core.trees import dot
from mimar.kernels.node import node
from mimar.kernels.programs import Program, Term
from mimar.kernels.stages import Chain, Stage, run_plainly


def separable(channels: int, kernel: int, stride: int = 1, dilation: int = 1, *, affine: bool = True) -> Stage:
    depthwise = nn.Conv2d(channels, channels, kernel, stride, dilation * (kernel // 2), dilation, channels, bias=False)
    dense = nn.Conv2d(channels, channels, 1, bias=False)
    return Stage("conv", True, depthwise, dense, nn.BatchNorm2d(channels, affine=affine), kernel, stride, dilation)


def dense(inputs: int, outputs: int, kernel: int, *, relu: bool = True, norm: bool = True) -> Stage:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return Stage("conv", relu, None, conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.3) if norm else None)


def pool(kind: Any, channels: int, kernel: int, stride: int, *, norm: bool = True, affine: bool = False) -> Stage:
    found = nn.BatchNorm2d(channels, affine=affine, eps=1e-2) if norm else None
    return Stage(kind, norm=found, kernel=kernel, stride=stride)


def phases(channels: int) -> Stage:
    even, odd = (nn.Conv2d(channels, n, 1, 2, bias=False) for n in (channels // 2, channels - channels // 2))
    return Stage("phases", True, even, odd, nn.BatchNorm2d(channels, affine=False), stride=2)


CHAINS: dict[str, Callable[[int, int], Chain]] = {  # by (channels, stride)
    "separable 3": lambda c, s: (separable(c, 3, s), separable(c, 3)),
    "separable 5": lambda c, s: (separable(c, 5, s, affine=False), separable(c, 5, affine=False)),
    "dilated 3": lambda c, s: (separable(c, 3, s, 2),),
    "dilated 5": lambda c, s: (separable(c, 5, s, 2, affine=False),),
    "average": lambda c, s: (pool("average", c, 3, s),),
    "maximum": lambda c, s: (pool("maximum", c, 3, s),),
    "bare average": lambda c, s: (pool("average", c, 3, s, norm=False),),
    "bare maximum": lambda c, s: (pool("maximum", c, 3, s, norm=False),),
    "wide average": lambda c, s: (pool("average", c, 5, s, affine=True),),
    "wide maximum": lambda c, s: (pool("maximum", c, 5, s, affine=True), separable(c, 3)),
    "phases": lambda c, s: (phases(c),),
    "one by one": lambda c, s: (dense(c, c, 1),),
    "three by three": lambda c, s: (dense(c, c, 3), dense(c, c, 3, relu=False, norm=False)),
    "bottleneck": lambda c, s: (dense(c, 2 * c + 1, 1, relu=False), dense(2 * c + 1, c, 5)),
    "identity": lambda c, s: (),
}
HALVING = ("separable 3", "separable 5", "dilated 3", "dilated 5", "average", "maximum", "bare average", "bare maximum")
HALVING += ("wide average", "wide maximum", "phases")
KEEPING = tuple(name for name in CHAINS if name != "phases")


@dataclass
class Problem:
    """A node with its arguments: chains of stride 2 read x, those of stride 1 read x too, or z where x is halved."""

    names: Sequence[str]
    stride: int = 1
    channels: int = 5
    sides: tuple[int, int] = (6, 7)
    batch: int = 3
    dtype: torch.dtype = torch.float64
    training: bool = True
    extra: Sequence[str] = ()  # chains of stride 1 that read z, of the shape of the output
    leaves: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        with isolated(0):
            chains = [CHAINS[n](self.channels, self.stride) for n in self.names]
            chains += [CHAINS[n](self.channels, 1) for n in self.extra]
            h, w = self.sides
            small = (-(-h // self.stride), -(-w // self.stride))
            shapes = [(self.batch, self.channels, *s) for s in (self.sides, small)][: 2 if self.extra else 1]
            stages = [stage for chain in chains for stage in chain]
            for m in (m for stage in stages for m in stage.modules):
                m.to(self.dtype).train(self.training)
            self.norms = [s.norm for s in stages if s.norm is not None]
            for t in itertools.chain(*((n.weight, n.bias) for n in self.norms if n.affine)):
                t.data.add_(0.3 * torch.randn_like(t))
            for norm in self.norms:
                norm.running_mean.normal_(0, 0.3)
                norm.running_var.uniform_(0.5, 1.5)
            xs = [torch.randn(s, dtype=self.dtype).contiguous(memory_format=torch.channels_last) for s in shapes]
            coef = torch.rand(len(chains), dtype=self.dtype) + 0.1
        self.terms = [Term(int(j >= len(self.names)), j, chain) for j, chain in enumerate(chains)]
        self.program = Program(self.terms, [x.shape for x in xs], self.dtype, len(chains))
        self.sources = len(xs)
        weights = [w for stage in stages for _, w in stage.weights()]
        self.leaves = [t.detach().requires_grad_() for t in (coef, *xs, *weights)]
        self.places = [place for stage in stages for place in stage.places()]

    @property
    def groups(self) -> dict[str, list[Tensor]]:
        n = 1 + self.sources
        return {"gates": self.leaves[:1], "sources": self.leaves[1:n], "weights": self.leaves[n:]}

    def fused(self, leaves: Sequence[Tensor], *, update: bool = False) -> Tensor:
        n = 1 + self.sources
        return node(self.program, leaves[0], leaves[1:n], leaves[n:], {}, update=update)

    def plain(self, leaves: Sequence[Tensor], *, update: bool = False) -> Tensor:
        places = [(n._buffers, b) for n in self.norms for b in ("running_mean", "running_var")]
        own = [where[name] for where, name in (*self.places, *places)]
        copies = [b.clone() for b in self.buffers]  # autograd keeps those that it has read
        for (where, name), t in zip((*self.places, *places), (*leaves[1 + self.sources :], *copies), strict=True):
            where[name] = t
        try:
            return sum(leaves[0][t.coef] * run_plainly(t.chain, leaves[1 + t.source]) for t in self.terms)
        finally:
            for (where, name), t in zip((*self.places, *places), own, strict=True):
                where[name] = t
            if update:
                self.restore(copies)

    @property
    def buffers(self) -> list[Tensor]:
        return [b for n in self.norms for b in (n.running_mean, n.running_var)]

    def restore(self, buffers: Sequence[Tensor]) -> None:
        for b, old in zip(self.buffers, buffers, strict=True):
            b.copy_(old)


Found = dict[str, list[Tensor]]


def measured(problem: Problem, run: Callable[..., Tensor]) -> Found:
    """Return output, running statistics, gradients, and products of the second derivatives with every group of inputs."""
    rng, leaves = stream(0, "directions"), problem.leaves
    before = [b.clone() for b in problem.buffers]
    y = run(leaves, update=True)
    found = {"output": [y], "statistics": [b.clone() for b in problem.buffers]}
    problem.restore(before)
    target = torch.randn(y.shape, generator=rng, dtype=torch.float64).to(y.dtype)
    loss = (torch.tanh(y) * target).sum()
    found["gradient"] = list(torch.autograd.grad(loss, leaves, retain_graph=True))
    slopes = torch.autograd.grad(loss, leaves, create_graph=True)
    found["gradient with graph"] = list(slopes)
    begin = 0
    for name, part in problem.groups.items():
        own, begin = slopes[begin : begin + len(part)], begin + len(part)
        if part:
            along = [torch.randn(t.shape, generator=rng, dtype=torch.float64).to(t.dtype) for t in part]
            found[f"{name} product"] = list(torch.autograd.grad(dot(own, along), leaves, retain_graph=True))
    return {name: [t.detach().double() for t in tensors] for name, tensors in found.items()}


def worst(found: Found, wanted: Found) -> float:
    """Return the largest relative difference of any tensor, on the scale of its group where it is tiny; inf for NaN."""
    gaps = [0.0]
    found, wanted = ({n: [t.detach() for t in ts] for n, ts in one.items()} for one in (found, wanted))
    for name, tensors in wanted.items():
        floor = 1e-3 * max((float(t.norm()) for t in tensors), default=0.0)
        pairs = zip(found[name], tensors, strict=True)
        gaps += [float((a - b).norm()) / (max(float(b.norm()), floor) or 1.0) for a, b in pairs]
    return max(gap if math.isfinite(gap) else math.inf for gap in gaps)


def gap(problem: Problem) -> float:
    """Return how far the compiled node is from its twin."""
    return worst(measured(problem, problem.fused), measured(problem, problem.plain))
