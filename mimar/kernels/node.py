"""A node of a cell as one differentiable operation on the compiled kernels, twice differentiable.

    y = Σ_j p_j · chain_j(x_src(j); θ_j)

The first derivative is one pass back through all chains. The second is the tangent of both passes: if u is the direction
in (p, x, θ), the derivative of ⟨∇⟨g, y⟩, u⟩ is (in g) the tangent ẏ of the pass forward and (in p, x, θ) the tangent of
the pass back. The latter is linear in what comes back to y in the same walk of autograd, and therefore waits for it, so
that both are one pass: a second derivative costs as much as the formulas need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mimar.core.derivatives import DEPENDENCE_ONLY
from mimar.kernels import memory, native
from mimar.kernels.native import Pass
from mimar.kernels.programs import AT, IN, SOURCE, Kept, Pooled, Program, norms, pooled

Pools = dict[Any, tuple[Tensor, Pooled]]


def node(
    program: Program,
    coef: Tensor,
    xs: Sequence[Tensor],
    weights: Sequence[Tensor],
    pools: Pools,
    *,
    update: bool,
    keep: bool = True,
    shares: Sequence[Share | None] = (),
) -> Tensor:
    """Return y (B, C, H, W, channels last) of a node.

    `coef` (J,): the coefficients that the terms refer to; `xs`: the sources, channels last; `weights` in the order of the
    terms' stages. `pools` is shared by the nodes of one call: a pool of one source is made once. With `update` the running
    statistics of norms that look at the batch move, in place. Without `keep` the inputs of norms are not kept for the way
    back but made again, bit for bit: a third of the time of a step for most of its memory. `shares`: those of sources that
    are aliases made by `shared`. Raises RuntimeError on a third derivative.
    """
    return _Node.apply(program, pools, update, keep, shares, coef, *xs, *weights)[0]


def join(xs: Sequence[Tensor]) -> Tensor:
    """Return torch.cat(xs, dim=1), whose second derivative is one more torch.cat instead of a sum of padded slices."""
    return _Join.apply(*xs)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *xs: Tensor) -> Tensor:
        ctx.sizes = [x.shape[1] for x in xs]
        if not native.serves(*xs) or not all(x.is_contiguous(memory_format=torch.channels_last) for x in xs):
            return torch.cat(xs, dim=1)
        b, _, h, w = xs[0].shape
        y = memory.empty(torch.Size((b, sum(ctx.sizes), h, w)), xs[0].dtype)
        torch.cat([x.permute(0, 2, 3, 1) for x in xs], dim=3, out=y.permute(0, 2, 3, 1))
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        return _Cut.apply(g, ctx.sizes)


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
        return tuple(_last(part).clone() if part.shape == g.shape else _last(part) for part in g.split(sizes, dim=1))

    @staticmethod
    def backward(ctx: Any, *parts: Tensor) -> tuple[Tensor, None]:
        return join(parts), None


class Share:
    """Where the nodes that read one tensor add up what comes back to it, in one buffer instead of a sum of many."""

    __slots__ = ("sum", "walk")

    def __init__(self) -> None:
        self.walk = -1
        self.sum: Tensor | None = None


def shared(x: Tensor) -> tuple[Tensor, Share]:
    """Return an alias of `x` that nothing but nodes may read, and what they share; pass both to every `node`."""
    share = Share()
    return _Shared.apply(x, share), share


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return x.detach()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        ctx.share.sum = None  # all who read it have come
        return g, None


class _Link:
    """What the derivative of the pass back leaves for the pass back that follows it in the same walk."""

    __slots__ = ("left", "walk")

    def __init__(self) -> None:
        self.walk = -1
        self.left: list[Any] = []


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        program: Program,
        pools: Pools,
        update: bool,
        keep: bool,
        shares: Sequence[Share | None],
        coef: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        count = len(program.sources)
        xs, weights = tensors[:count], tensors[count:]
        held = {}
        for key in program.pools:
            x = xs[key[0]]
            memo = (id(x), memory.version(x), *key[1:])
            if memo not in pools:
                pools[memo] = (x, pooled(x, *key[1:]))
            held[key] = pools[memo][1]
        z = [memory.POOL.take(n, program.dtype) for n in program.kept]
        kept = Kept(z, torch.empty(program.stats, dtype=torch.float64), norms(program), held)
        y = memory.empty(program.shape, program.dtype)
        words = program.words(coef, xs, weights, kept, update)
        words[IN["y"]] = y.data_ptr()
        native.execute(words, Pass.FORWARD)
        anchor = y.new_empty(
            0
        )  # stands for this node where its derivative has to come before it; y itself may be changed
        ctx.set_materialize_grads(False)
        ctx.program, ctx.norms, ctx.keys, ctx.link, ctx.shares = program, kept.norms, list(held), _Link(), shares
        ctx.save_for_backward(
            anchor,
            coef,
            *tensors,
            kept.stats,
            *(t for p in held.values() for t in (p.z, p.stats)),
            *(z if keep else ()),
        )
        return y, anchor

    @staticmethod
    def backward(ctx: Any, gy: Tensor | None, _: None) -> tuple[Any, ...]:
        saved, program, link = ctx.saved_tensors, ctx.program, ctx.link
        inputs = 1 + len(program.sources) + _count(program)
        anchor, tensors, rest = saved[0], saved[1 : 1 + inputs], saved[1 + inputs :]
        needs = _needed(ctx, 5, inputs)
        walk = torch._C._current_graph_task_id()
        shares = () if torch.is_grad_enabled() else _open(ctx.shares, walk)
        left, link.left = (link.left if link.walk == walk else []), []
        found: Any = [None] * inputs
        if gy is not None and (not left or torch.is_grad_enabled()):
            if torch.is_grad_enabled():
                found = _Back.apply(
                    program, ctx.norms, ctx.keys, link, needs, anchor, gy, len(tensors), *tensors, *rest
                )
            else:
                found = _back(program, ctx.norms, ctx.keys, needs, gy, tensors, rest, shares)
            gy = None
        if left:
            found = _after(found, program, ctx.norms, ctx.keys, needs, left, gy, tensors, rest, shares)
        return (None, None, None, None, None, *found)


class _Back(torch.autograd.Function):
    """The pass back as a function of what it reads, so that it can be differentiated once more."""

    @staticmethod
    def forward(
        ctx: Any,
        program: Program,
        norms_: list,
        keys: list,
        link: _Link,
        needs: list,
        anchor: Tensor,
        gy: Tensor,
        inputs: int,
        *tensors: Tensor,
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        ctx.program, ctx.norms, ctx.keys, ctx.link, ctx.inputs = program, norms_, keys, link, inputs
        ctx.save_for_backward(gy, *tensors)
        wanted = list(needs)
        if DEPENDENCE_ONLY.get():
            wanted[1 + len(program.sources) :] = [False] * _count(program)
        found = _back(program, norms_, keys, wanted, gy, tensors[:inputs], tensors[inputs:])
        missing = (g is None and need for g, need in zip(found, needs, strict=True))
        return tuple(
            t.new_zeros(()).expand(t.shape) if m else g for g, t, m in zip(found, tensors, missing, strict=False)
        )

    @staticmethod
    def backward(ctx: Any, *directions: Tensor | None) -> tuple[Any, ...]:
        gy, *tensors = ctx.saved_tensors
        n, program, link = ctx.inputs, ctx.program, ctx.link
        nothing = (None,) * (8 + len(tensors))
        if all(d is None for d in directions):
            return nothing
        inputs, rest = tensors[:n], tensors[n:]
        with torch.no_grad():
            t_y, t_kept = _tangent(program, ctx.norms, ctx.keys, directions, inputs, rest)
        (t_y,) = _final([t_y], [*inputs, *directions])
        walk = torch._C._current_graph_task_id()
        if link.walk != walk:
            link.walk, link.left = walk, []
        held = [d if d is None or not d.requires_grad else d.detach() for d in directions]
        link.left.append((gy.detach(), held, t_kept))  # detached: what waits must not hold the graph that holds it
        return (*(None,) * 6, t_y, None, *(None,) * len(tensors))


def _open(shares: Sequence[Share | None], walk: int) -> Sequence[Share | None]:
    """Return the shares for this walk of autograd: what another one left is forgotten."""
    for share in shares:
        if share is not None and share.walk != walk:
            share.walk, share.sum = walk, None
    return shares


def _count(program: Program) -> int:
    return sum(len(slot.weights) for slot in program.slots)


def _needed(ctx: Any, begin: int, count: int) -> list[bool]:
    """Which gradients this walk of autograd is for: those not asked for are not computed.

    Of a leaf autograd does not tell; it counts as asked for. `Curvature` therefore works on aliases of the weights.
    """
    flags, nodes = ctx.needs_input_grad[begin : begin + count], ctx.next_functions[-count:]
    return [flag and (type(f).__name__ == LEAF or _runs(f)) for flag, (f, _) in zip(flags, nodes, strict=True)]


LEAF = "AccumulateGrad"
_runs = torch._C._will_engine_execute_node


def _kept(program: Program, norms_: list, keys: list, inputs: Sequence[Tensor], rest: Sequence[Tensor]) -> Kept:
    """Return what the pass forward left; z that was not kept is made again."""
    end = 1 + 2 * len(keys)
    pools = {k: Pooled(rest[1 + 2 * i], rest[2 + 2 * i]) for i, k in enumerate(keys)}
    if len(rest) > end or not program.kept:
        return Kept(rest[end:], rest[0], norms_, pools)
    kept = Kept([memory.POOL.take(n, program.dtype) for n in program.kept], torch.empty_like(rest[0]), norms_, pools)
    count = 1 + len(program.sources)
    native.execute(program.words(inputs[0], inputs[1:count], inputs[count:], kept, False), Pass.FORWARD)
    return kept


def _words(
    program: Program, norms_: list, keys: list, inputs: Sequence[Tensor], rest: Sequence[Tensor]
) -> tuple[Any, Kept]:
    count = 1 + len(program.sources)
    kept = _kept(program, norms_, keys, inputs, rest)
    return program.words(inputs[0], inputs[1:count], inputs[count:], kept, False), kept


def _last(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=torch.channels_last)


def _targets(
    program: Program, words: Any, needs: Sequence[bool], inputs: Sequence[Tensor], shares: Sequence[Share | None]
) -> tuple[list[Tensor | None], list[Tensor]]:
    """Make the gradients asked for, and write where they go; also return the sums that the program adds to."""
    found: list[Tensor | None] = [None] * len(inputs)
    if needs[0]:
        g = found[0] = torch.zeros_like(inputs[0])
        words[IN["g_coef"]] = g.data_ptr()
    sums = []
    for i, at in enumerate(program.source_at, 1):
        if needs[i]:
            share = shares[i - 1] if shares else None
            if share is not None and share.sum is not None:
                words[at + SOURCE["add"]] = 1
                sums.append(share.sum)
                g = share.sum
            else:
                g = found[i] = memory.empty(inputs[i].shape, program.dtype)
                if share is not None:
                    share.sum = g
            words[at + SOURCE["g_x"]] = g.data_ptr()
    i = 1 + len(program.sources)
    for slot in program.slots:
        for role in slot.weights:
            if needs[i]:
                g = found[i] = torch.empty_like(inputs[i], memory_format=torch.contiguous_format)
                words[slot.at + AT["g_" + role]] = g.data_ptr()
            i += 1
    return found, sums


def _back(
    program: Program,
    norms_: list,
    keys: list,
    needs: Sequence[bool],
    gy: Tensor,
    inputs: Sequence[Tensor],
    rest: Sequence[Tensor],
    shares: Sequence[Share | None] = (),
) -> list[Tensor | None]:
    words, kept = _words(program, norms_, keys, inputs, rest)
    gy = _last(gy)
    words[IN["g_y"]] = gy.data_ptr()
    found, sums = _targets(program, words, needs, inputs, shares)
    native.execute(words, Pass.BACKWARD)
    del kept, sums  # their memory was used until here
    return found


def _directions(program: Program, words: Any, directions: Sequence[Tensor | None]) -> list[Tensor]:
    """Write where the tangents are; return what must stay alive."""
    alive: list[Tensor] = []

    def hold(t: Tensor) -> int:
        alive.append(t)
        return t.data_ptr()

    if (d := directions[0]) is not None:
        words[IN["t_coef"]] = hold(d.contiguous())
    for i, at in enumerate(program.source_at, 1):
        if (d := directions[i]) is not None:
            words[at + SOURCE["t_x"]] = hold(_last(d))
    i = 1 + len(program.sources)
    for slot in program.slots:
        for role in slot.weights:
            if (d := directions[i]) is not None:
                words[slot.at + AT["t_" + role]] = hold(d.contiguous())
            i += 1
    return alive


def _t_kept(program: Program, words: Any, t_z: Sequence[Tensor], t_stats: Tensor) -> None:
    stats = t_stats.data_ptr()
    for slot in program.slots:
        words[slot.at + AT["t_z"]] = t_z[slot.t_z].data_ptr()
        words[slot.at + AT["t_stats"]] = stats + slot.stats * 8


def _tangent(
    program: Program,
    norms_: list,
    keys: list,
    directions: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    rest: Sequence[Tensor],
) -> tuple[Tensor, tuple[list[Tensor], Tensor]]:
    """Return ẏ along `directions`, and the tangents kept on the way."""
    words, kept = _words(program, norms_, keys, inputs, rest)
    alive = _directions(program, words, directions)
    t_z = [memory.POOL.take(n, program.dtype) for n in program.tangents]
    t_stats = torch.empty(program.stats, dtype=torch.float64)
    _t_kept(program, words, t_z, t_stats)
    t_y = memory.empty(program.shape, program.dtype)
    words[IN["t_y"]] = t_y.data_ptr()
    native.execute(words, Pass.TANGENT)
    del alive, kept
    return t_y, (t_z, t_stats)


def _tangent_back(
    program: Program,
    norms_: list,
    keys: list,
    needs: Sequence[bool],
    left: Any,
    t_gy: Tensor | None,
    inputs: Sequence[Tensor],
    rest: Sequence[Tensor],
    shares: Sequence[Share | None],
) -> list[Tensor | None]:
    gy, directions, (t_z, t_stats) = left
    words, kept = _words(program, norms_, keys, inputs, rest)
    alive = _directions(program, words, directions)
    _t_kept(program, words, t_z, t_stats)
    alive.append(_last(gy))
    words[IN["g_y"]] = alive[-1].data_ptr()
    if t_gy is not None:
        alive.append(_last(t_gy))
        words[IN["t_g_y"]] = alive[-1].data_ptr()
    found, sums = _targets(program, words, needs, inputs, shares)
    native.execute(words, Pass.TANGENT_BACKWARD)
    del alive, kept, sums
    return found


def _after(
    found: Any,
    program: Program,
    norms_: list,
    keys: list,
    needs: Sequence[bool],
    left: list,
    gy: Tensor | None,
    inputs: Sequence[Tensor],
    rest: Sequence[Tensor],
    shares: Sequence[Share | None],
) -> Any:
    """Add the tangents of the pass back that waited, the first of them together with what came back to y."""
    with torch.no_grad():
        for waiting in left:
            more = _tangent_back(program, norms_, keys, needs, waiting, gy, inputs, rest, shares)
            found = [a if b is None else b if a is None else a + b for a, b in zip(found, more, strict=True)]
            gy = None
    return _final(found, inputs)


class _Final(torch.autograd.Function):
    """The identity, whose derivative is refused."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *_: Any) -> None:
        raise RuntimeError("a node of the fused execution has no third derivative; use Reference()")


def _final(found: Sequence[Tensor | None], sources: Sequence[Tensor | None]) -> list[Any]:
    """Return second derivatives that know what they depend on, so that asking for a third one is refused, not zero."""
    if not torch.is_grad_enabled():
        return list(found)
    held = [t.detach() for t in found if t is not None]
    done = iter(_Final.apply(len(held), *held, *(t for t in sources if t is not None and t.requires_grad)))
    return [None if t is None else next(done) for t in found]
