"""A node of a cell in few calls of torch: what `mimar.kernels.node` does, for CUDA and where nothing was compiled.

    y = Σ_j p_j · chain_j(x_src(j); θ_j)

Stages of one specification at one depth of different terms are one call each, with their channels side by side: a
depthwise convolution, a dense one in as many groups as terms, a batch norm. What several terms read is made once.
Derivatives of any order are those of autograd.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimar.kernels.depthwise import depthwise
from mimar.kernels.programs import POOLS, Program
from mimar.kernels.stages import Stage

Weights = tuple[Tensor, ...]


class Piece(NamedTuple):
    """The channels of one term in a tensor that holds those of `terms` terms side by side."""

    whole: Tensor
    number: int  # of the term in it
    terms: int


def bundled(program: Program, coef: Tensor, xs: Sequence[Tensor], weights: Sequence[Tensor], *, update: bool) -> Tensor:
    """Return y (B, C, H, W) of a node, in the layout of the first source.

    `coef` (J,): the coefficients that the terms refer to; `xs`: the sources; `weights` in the order of the terms' stages.
    Any device and floating type, autocast too. With `update` the running statistics of norms in training move, in place.
    """
    given = iter(weights)
    chains = [[(s, tuple(next(given) for _ in s.roles)) for s in term.chain] for term in program.terms]
    states = [Piece(xs[term.source], 0, 1) for term in program.terms]
    seen: list[tuple[int, nn.BatchNorm2d, Tensor]] = []
    call = _Call()
    for depth in range(max(map(len, chains), default=0)):
        groups: dict[Any, list[int]] = {}
        for j, chain in enumerate(chains):
            if depth < len(chain):
                groups.setdefault(_specification(*chain[depth], states[j]), []).append(j)
        after = list(states)
        for members in groups.values():
            stages, own = zip(*(chains[j][depth] for j in members), strict=True)
            out, stats = call.stage(stages, own, [states[j] for j in members], update)
            for i, j in enumerate(members):
                after[j] = Piece(out, i, len(members))
            if stats is not None:
                seen += [(j, s.norm, part) for j, s, part in zip(members, stages, stats, strict=True)]
        states, call = after, _Call()  # what was shared at this depth may be freed
    _move(sorted(seen, key=lambda entry: entry[0]))
    return _mixture(states, coef, [term.coef for term in program.terms], xs[0])


def _specification(stage: Stage, weights: Weights, at: Piece) -> Any:
    """Return what stages must have in common to be one call."""
    norm, x = stage.norm, at.whole
    spec = (stage.kind, stage.relu, stage.kernel, stage.stride, stage.dilation, stage.depthwise is None)
    normed = None if norm is None else (stage.batch, norm.affine, norm.eps, _moves(norm))
    shape = (x.shape[1] // at.terms, *x.shape[2:], x.dtype)
    return (*spec, shape, normed, *((w.shape, w.dtype) for w in weights))


def _moves(norm: nn.BatchNorm2d) -> bool:
    return norm.training and norm.running_mean is not None


def _mixture(states: Sequence[Piece], coef: Tensor, places: Sequence[int], like: Tensor) -> Tensor:
    order = {id(piece.whole): n for n, piece in reversed(list(enumerate(states)))}
    terms = sorted(range(len(states)), key=lambda j: (order[id(states[j].whole)], states[j].number))
    joined = _Call().gathered([states[j] for j in terms])
    parts = coef.unbind()  # an index would have to travel to the device
    scale = torch.stack([parts[places[j]] for j in terms]).to(joined.dtype).view(-1, 1, 1, 1)
    y = (joined.unflatten(1, (len(terms), -1)) * scale).sum(1)
    last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return y.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def _move(seen: Sequence[tuple[int, nn.BatchNorm2d, Tensor]]) -> None:
    """Move running statistics to those of the batch, (2, C) each; a norm that ran twice moves twice, in order."""
    turns: Counter[nn.BatchNorm2d] = Counter()
    moves: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
    for _, norm, stats in seen:
        held, new = moves.setdefault((norm.momentum or 0.0, turns[norm]), ([], []))
        held += [norm.running_mean, norm.running_var]  # type: ignore[list-item]
        new += stats.unbind()
        turns[norm] += 1
    for (momentum, _), (held, new) in moves.items():
        torch._foreach_lerp_(held, new, momentum)


class _Call:
    """The stages of one depth, with what several of them read."""

    def __init__(self) -> None:
        self.made: dict[Any, Tensor] = {}
        self.cuts: dict[int, tuple[Tensor, ...]] = {}

    def stage(
        self, stages: Sequence[Stage], weights: Sequence[Weights], inputs: Sequence[Piece], update: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return stages of one specification as one tensor; with `update` also the batch's statistics (terms, 2, C)."""
        s, n = stages[0], len(stages)
        own = [join(role, dim=0) for role in zip(*weights, strict=True)]
        if s.kind in POOLS:
            once = list({(id(p.whole), p.number): p for p in inputs}.values())
            where = {(id(p.whole), p.number): i for i, p in enumerate(once)}
            pools = self._shared((s.kind, s.kernel, s.stride, s.dilation), once)
            x = self.gathered([Piece(pools, where[id(p.whole), p.number], len(once)) for p in inputs])
        else:
            x = self._shared(("relu",), inputs) if s.relu else self.gathered(inputs)
        if s.kind == "conv":
            if s.depthwise is not None:
                x = depthwise(x, own.pop(0), s.stride, s.dilation)
            if s.dense is not None:
                matrix = own.pop(0)
                x = F.conv2d(x, matrix, padding=matrix.shape[-1] // 2, groups=n)
        elif s.kind == "phases":
            shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
            halves = (F.conv2d(t, own.pop(0), stride=s.stride, groups=n).unflatten(1, (n, -1)) for t in (x, shifted))
            x = torch.cat(list(halves), dim=2).flatten(1, 2)
        norm = s.norm
        if norm is None:
            return x, None
        gamma, beta = own or (None, None)
        if not s.batch:
            mean, var = (torch.cat([getattr(t.norm, name) for t in stages]) for name in ("running_mean", "running_var"))
            return F.batch_norm(x, mean, var, gamma, beta, False, eps=norm.eps), None
        if not (update and _moves(norm)):
            return F.batch_norm(x, None, None, gamma, beta, True, eps=norm.eps), None
        stats = norm.running_mean.new_zeros(2, x.shape[1])  # type: ignore[union-attr]
        x = F.batch_norm(x, stats[0], stats[1], gamma, beta, True, 1.0, norm.eps)  # of momentum 1: those of the batch
        return x, stats.unflatten(1, (n, -1)).transpose(0, 1)

    def gathered(self, pieces: Sequence[Piece]) -> Tensor:
        """Return the channels of all pieces side by side: a tensor that holds just those as it is, others joined once."""
        key, parts, i = tuple((id(p.whole), p.number) for p in pieces), [], 0
        if key in self.made:
            return self.made[key]
        while i < len(pieces):
            whole, number, count = pieces[i]
            if key[i : i + count] == tuple((id(whole), k) for k in range(count)):
                parts.append(whole)
                i += count
            else:
                if id(whole) not in self.cuts:
                    self.cuts[id(whole)] = _Cut.apply(whole, [whole.shape[1] // count] * count, 1)
                parts.append(self.cuts[id(whole)][number])
                i += 1
        self.made[key] = join(parts, dim=1)
        return self.made[key]

    def _shared(self, what: tuple, pieces: Sequence[Piece]) -> Tensor:
        """Return what a function without weights makes of pieces, once for all stages that read it."""
        key = (what, tuple((id(p.whole), p.number) for p in pieces))
        if key not in self.made:
            x, (kind, *sizes) = self.gathered(pieces), what
            if kind == "relu":
                self.made[key] = torch.relu(x)
            else:
                kernel, stride, dilation = sizes
                pad = dilation * (kernel // 2)
                self.made[key] = (
                    F.avg_pool2d(x, kernel, stride, pad, count_include_pad=False)
                    if kind == "average"
                    else F.max_pool2d(x, kernel, stride, pad, dilation)
                )
        return self.made[key]


def join(xs: Sequence[Tensor], dim: int) -> Tensor:
    """Return torch.cat(xs, dim), of whose derivatives each is one cut or one torch.cat, not a sum of padded slices."""
    return xs[0] if len(xs) == 1 else _Join.apply(dim, *xs)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dim: int, *xs: Tensor) -> Tensor:
        ctx.sizes, ctx.dim = [x.shape[dim] for x in xs], dim
        return torch.cat(xs, dim)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Cut.apply(g, ctx.sizes, ctx.dim)


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], dim: int) -> tuple[Tensor, ...]:
        ctx.dim = dim
        return x.split(sizes, dim)

    @staticmethod
    def backward(ctx: Any, *parts: Tensor) -> tuple[Tensor, None, None]:
        return join(parts, ctx.dim), None, None
