"""A node of a cell as a program of 64-bit words: y = Σ_j p_j · chain_j(x_src(j)). The layout is that of csrc/node.h.

A program is made once for each kind of node and filled with addresses at every call.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mimar.kernels import memory, native
from mimar.kernels.native import Pass
from mimar.kernels.stages import Chain, Stage, conv_size

KINDS = ("conv", "average", "maximum", "phases")
POOLS = ("average", "maximum")


def _numbered(names: str) -> dict[str, int]:
    """Return the place of every name."""
    return {name: i for i, name in enumerate(names.split())}


# The fields of csrc/node.h's Head, Source and Stage, in their order.
IN = _numbered("words is_double threads batch h w c terms sources coef t_coef g_coef y t_y g_y t_g_y")
SOURCE = _numbered("x t_x g_x h w c add")
AT = _numbered(
    "kind relu k s d q ci co h w ho wo norm batch eps momentum update kernel matrix gamma beta running_mean running_var "
    "stats z g_kernel g_matrix g_gamma g_beta t_kernel t_matrix t_gamma t_beta t_stats t_z"
)


@dataclass(frozen=True)
class Term:
    """One summand: which source feeds it, which coefficient scales it, what it does."""

    source: int
    coef: int
    chain: Chain


@dataclass
class Slot:
    """Where the addresses of one stage stand in the words, and how much it keeps."""

    at: int  # of the stage's first word
    z: int  # number of its kept values; −1 for a pool, whose z is shared
    t_z: int  # number of its kept tangents
    stats: int  # offset in the statistics: mean and variance
    pool: tuple[int, str, int, int, int] | None  # (source, kind, kernel, stride, dilation)
    weights: tuple[str, ...]
    channels: int  # of the output
    stage: Stage = field(repr=False)


class Layout(NamedTuple):
    """A stage on an input of known shape: its words, the sizes of its weights, the shape (C, H, W) of its output."""

    words: tuple[int, ...]
    roles: tuple[str, ...]
    sizes: tuple[torch.Size, ...]
    out: tuple[int, int, int]
    pool: tuple[str, int, int, int] | None  # (kind, kernel, stride, dilation)


def layout(s: Stage, ci: int, h: int, w: int) -> Layout:
    """Return how a stage is laid out on an input (ci, h, w); raises ValueError where it does not fit."""
    c, q = ci, s.dense.kernel_size[0] if s.dense is not None else 1
    if s.kind == "conv":
        if s.depthwise is not None and s.depthwise.in_channels != ci:
            raise ValueError("a depthwise convolution does not fit the channels of its input")
        if s.dense is None or s.dense.in_channels != ci:
            raise ValueError("a convolution does not fit the channels of its input")
        c = s.dense.out_channels
    elif s.kind == "phases":
        assert s.depthwise is not None and s.dense is not None
        if s.dense.in_channels != ci:
            raise ValueError("a convolution does not fit the channels of its input")
        c = s.depthwise.out_channels + s.dense.out_channels
    if s.norm is not None and s.norm.num_features != c:
        raise ValueError("a batch norm does not fit the channels of its input")
    size_of = {"kernel": torch.Size((ci, 1, s.kernel, s.kernel)), "matrix": torch.Size((c, ci, q, q))}
    if s.kind == "phases":
        size_of = {"kernel": torch.Size((c // 2, ci, 1, 1)), "matrix": torch.Size((c - c // 2, ci, 1, 1))}
    size_of |= {"gamma": torch.Size((c,)), "beta": torch.Size((c,))}
    ho, wo = conv_size(h, s.stride), conv_size(w, s.stride)
    words = [KINDS.index(s.kind), int(s.relu), s.kernel, s.stride, s.dilation, q, ci, c, h, w, ho, wo]
    pool = (s.kind, s.kernel, s.stride, s.dilation) if s.kind in POOLS else None
    roles = s.roles
    return Layout(
        (*words, *[0] * (len(AT) - len(words))), roles, tuple(size_of[role] for role in roles), (c, ho, wo), pool
    )


class Program:
    """The words of one kind of node, for given shapes; `Program.shape` is that of the output (B, C, H, W).

    Raises ValueError where the chains do not fit the sources or each other.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        sources: Sequence[torch.Size],
        dtype: torch.dtype,
        coefs: int,
        known: dict[Any, Layout] | None = None,
    ) -> None:
        """Lay the terms out; `known` is kept by the caller who makes many programs of the same stages."""
        known = {} if known is None else known
        self.terms, self.dtype, self.coefs = tuple(terms), dtype, coefs
        self.sources = tuple(sources)
        self.slots: list[Slot] = []
        self.kept: list[int] = []  # sizes of z, stage by stage
        self.tangents: list[int] = []
        self.stats = 0
        self.sizes: list[torch.Size] = []  # of the weights
        self.single = False  # whether a norm sees one number a channel, which a batch cannot norm
        body: list[int] = []
        self.source_at = [len(IN) + len(SOURCE) * i for i in range(len(sources))]
        begin = len(IN) + len(SOURCE) * len(sources)
        outs = set()
        batch = sources[0][0]
        for term in terms:
            body += (term.source, term.coef, len(term.chain))
            c, h, w = sources[term.source][1:]
            for n, s in enumerate(term.chain):
                key = s, c, h, w
                laid = known.get(key)
                if laid is None:
                    laid = known[key] = layout(s, c, h, w)
                if n and laid.pool:
                    raise ValueError("a pool must be the first stage of its chain")
                c, h, w = laid.out
                size = batch * c * h * w
                self.slots.append(
                    Slot(
                        begin + len(body),
                        -1 if laid.pool else len(self.kept),
                        len(self.tangents),
                        self.stats,
                        (term.source, *laid.pool) if laid.pool else None,
                        laid.roles,
                        c,
                        s,
                    )
                )
                self.sizes += laid.sizes
                self.single |= s.norm is not None and size == c
                if not laid.pool:
                    self.kept.append(size)
                self.tangents.append(size)
                self.stats += 2 * c
                body += laid.words
            outs.add((c, h, w))
        if len(outs) != 1:
            raise ValueError("the chains of one node give different shapes")
        c, h, w = outs.pop()
        self.shape = torch.Size((batch, c, h, w))
        head = [0, dtype == torch.float64, 0, batch, h, w, c, len(terms), len(sources)]
        words = [int(f) for f in head] + [0] * (len(IN) - len(head))
        for source in sources:
            words += [0, 0, 0, source[2], source[3], source[1], 0]
        self._blank = array("q", words + body)
        self._blank[IN["words"]] = len(self._blank)

    def fits(self, weights: Sequence[Tensor]) -> bool:
        """Tell whether weights and running statistics are what the words say: the kernels read and write by address."""
        if not all(w.shape == size for w, size in zip(weights, self.sizes, strict=True)):
            return False
        held = (t for s in self.slots if s.stage.norm is not None for t in _running(s.stage.norm))
        return all(t.dtype == self.dtype and t.dim() == 1 and t.is_contiguous() for t in held) and all(
            t.numel() == slot.channels
            for slot in self.slots
            if slot.stage.norm is not None
            for t in _running(slot.stage.norm)
        )

    @property
    def pools(self) -> list[tuple[int, str, int, int, int]]:
        """The pools that the program reads, each once."""
        return list(dict.fromkeys(slot.pool for slot in self.slots if slot.pool))

    def words(
        self, coef: Tensor, xs: Sequence[Tensor], weights: Sequence[Tensor], kept: Kept, update: bool
    ) -> array[int]:
        """Return the words with the addresses of everything that all passes read."""
        words = self._blank[:]
        words[IN["threads"]] = threads(self.shape)
        words[IN["coef"]] = coef.data_ptr()
        for at, x in zip(self.source_at, xs, strict=True):
            words[at] = x.data_ptr()
        it = iter(weights)
        stats = kept.stats.data_ptr()
        for slot, (batch, eps, momentum, mean, var) in zip(self.slots, kept.norms, strict=True):
            at = slot.at
            if eps is not None:
                words[at + AT["norm"]] = 1
                words[at + AT["batch"]] = batch
                words[at + AT["eps"]] = eps
                words[at + AT["momentum"]] = momentum
                words[at + AT["update"]] = update
                if mean is not None:
                    words[at + AT["running_mean"]] = mean.data_ptr()
                    words[at + AT["running_var"]] = var.data_ptr()
            for role in slot.weights:
                words[at + AT[role]] = next(it).data_ptr()
            words[at + AT["stats"]] = stats + slot.stats * 8
            if slot.z >= 0:
                words[at + AT["z"]] = kept.z[slot.z].data_ptr()
            else:
                pooled = kept.pools[slot.pool]
                words[at + AT["z"]] = pooled.z.data_ptr()
                if batch:
                    words[at + AT["stats"]] = pooled.stats.data_ptr()
        return words


def _running(norm: torch.nn.BatchNorm2d) -> list[Tensor]:
    return [t for t in (norm.running_mean, norm.running_var) if t is not None]


def bits(value: float) -> int:
    """Return the bits of a double as an integer."""
    found: int = struct.unpack("q", struct.pack("d", value))[0]
    return found


def threads(shape: Sequence[int]) -> int:
    """Return the number of threads for a node of this output: torch's, or one where it would not pay."""
    size = 1
    for n in shape:
        size *= n
    return torch.get_num_threads() if size >= 4096 else 1


@dataclass
class Pooled:
    """The output of a pool that several nodes share, with its statistics."""

    z: Tensor
    stats: Tensor


@dataclass
class Kept:
    """What a forward pass leaves for the passes back: z of every stage, statistics, the norms' settings, shared pools."""

    z: Sequence[Tensor]
    stats: Tensor  # float64
    norms: list
    pools: dict


def norms(program: Program) -> list:
    """Return (batch, eps bits, momentum bits, running mean, running variance) of every stage's norm, as they are now."""
    found: list = []
    for slot in program.slots:
        s = slot.stage
        norm = s.norm
        if norm is None:
            found.append((False, None, None, None, None))
        else:
            mean, var = norm.running_mean, norm.running_var
            found.append((s.batch, bits(norm.eps), bits(norm.momentum or 0.0), mean, var))
    return found


def pooled(x: Tensor, kind: str, kernel: int, stride: int, dilation: int) -> Pooled:
    """Return a pool of `x` (B, C, H, W, channels last) with mean and variance per channel."""
    batch, c, h, w = x.shape
    ho, wo = conv_size(h, stride), conv_size(w, stride)
    z = memory.empty(torch.Size((batch, c, ho, wo)), x.dtype)
    stats = torch.empty(2 * c, dtype=torch.float64)
    head = [0, x.dtype == torch.float64, threads(z.shape), batch, ho, wo, c, 1, 1] + [0] * 7
    stage = [KINDS.index(kind), 0, kernel, stride, dilation, 1, c, c, h, w, ho, wo, 1, 1] + [0] * (len(AT) - 14)
    stage[AT["stats"]], stage[AT["z"]] = stats.data_ptr(), z.data_ptr()
    words = array("q", [int(n) for n in [*head, x.data_ptr(), 0, 0, h, w, c, 0, 0, 0, 1, *stage]])
    native.execute(words, Pass.POOL)
    return Pooled(z, stats)
