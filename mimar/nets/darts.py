"""The DARTS network with choices: cells that take the two cells before them, normal or reduction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from mimar.nets.operations import DARTS, FactorizedReduce, build, check_counts, first, relu_conv_bn
from mimar.nets.partial import Partial, check_parts
from mimar.nets.untied import Untied, check_nested
from mimar.space import (
    S1,
    S2,
    S3,
    S4,
    Choice,
    Darts,
    OneOf,
    SomeOf,
    Structure,
    darts_choices,
    edge_operations,
    joined,
    total,
)

Operations = Sequence[str] | Mapping[str, Sequence[Sequence[str]]]


class Cell(nn.Module):
    """Two preprocessed inputs, then nodes that each sum two chosen operations on earlier ones; the output joins all nodes.

    Shapes: s0, s1 (B, ·, H, W) to (B, nodes·C, H/s, W/s), s = 2 in a reduction cell; s0 may still have twice the resolution.
    """

    def __init__(
        self,
        operations: Sequence[Sequence[str]],
        widths: tuple[int, int, int],
        *,
        reduction: tuple[bool, bool],
        affine: bool,
        name: str,
        partial: int = 1,
    ) -> None:
        super().__init__()
        before, last, channels = widths
        halved, halves = reduction  # whether the cell before reduced, whether this one does
        if halved:
            self.preprocess0: nn.Module = FactorizedReduce(before, channels, affine=affine)
        else:
            self.preprocess0 = relu_conv_bn(before, channels, 1, affine=affine)
        self.preprocess1 = relu_conv_bn(last, channels, 1, affine=affine)
        self.nodes = nn.ModuleList()
        lists = list(operations)  # for the edges 0-2, 1-2, 0-3, 1-3, 2-3, …
        while lists:
            j = len(self.nodes) + 2
            inputs: dict[str, nn.Module] = {}
            for i, names in enumerate(lists[:j]):
                stride = 2 if halves and i < 2 else 1
                options = {o: build(DARTS, o, channels // partial, stride, affine) for o in names}
                never = ("none",) if "none" in names else ()
                inputs[str(i)] = OneOf(options, name=f"{name}/{i}-{j}", never=never)
            self.nodes.append(SomeOf(inputs, k=2, name=f"{name}/node{j}"))
            lists = lists[j:]
        self.stride = 2 if halves else 1
        self.partial = Partial(channels, partial) if partial > 1 else None
        self.passes = nn.ModuleList()  # the same decisions once more, for the channels that go round the choices
        for j in range(2, 2 + len(self.nodes)) if self.partial else ():
            self.passes.append(SomeOf({str(i): nn.Identity() for i in range(j)}, k=2, name=f"{name}/node{j}"))

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        """Return the joined nodes."""
        states = [total([self.preprocess0], [s0]), total([self.preprocess1], [s1])]
        if self.partial is not None:
            return joined(self._partly(self.partial, states))
        for node in self.nodes:
            states.append(node(list(states)))
        return joined(states[2:])

    def _partly(self, partial: Partial, inputs: list[Tensor]) -> list[Tensor]:
        order = partial.order(inputs[0])
        taken, passed = (list(cut) for cut in zip(*(partial.cut(x, order, self.stride) for x in inputs), strict=True))
        found: list[Tensor] = []
        for node, passes in zip(self.nodes, self.passes, strict=True):
            found.append(partial.mended(node(list(taken)), passes(list(passed)), order))
            for parts, part in zip((taken, passed), partial.cut(found[-1], order), strict=True):
                parts.append(part)
        return found


class Network(nn.Module):
    """Stem, cells with reductions at one and two thirds of the depth, mean, classifier."""

    def __init__(
        self,
        plan: Mapping[str, Sequence[Sequence[str]]],
        depth: tuple[int, int],
        widths: tuple[int, int],
        ends: tuple[int, int],
        *,
        affine: bool,
        partial: int,
        nested: int,
    ) -> None:
        super().__init__()
        (cells, nodes), (channels, multiplier), (in_channels, classes) = depth, widths, ends
        reductions = {cells // 3, 2 * cells // 3}
        kinds = ["reduce" if i in reductions else "normal" for i in range(cells)]
        names = [f"{kind}{i}" if nested else kind for i, kind in enumerate(kinds)]
        self.space_structure = _structure(names, kinds, darts_choices(nodes, plan), nested)
        self.auxiliary_tap: str | None = f"cells.{2 * cells // 3}"
        stem = multiplier * channels
        self.stem = nn.Sequential(nn.Conv2d(in_channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.cells = nn.ModuleList()
        before, last, halved = stem, stem, False
        for i in range(cells):
            halves = i in reductions
            channels *= 2 if halves else 1
            sizes = (before, last, channels)
            cell = Cell(
                plan[kinds[i]], sizes, reduction=(halved, halves), affine=affine, name=names[i], partial=partial
            )
            self.cells.append(cell)
            before, last, halved = last, nodes * channels, halves
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, in_channels, H, W)."""
        s0 = s1 = first(self.stem, x)
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        return self.head(s1)


def _structure(names: Sequence[str], kinds: Sequence[str], choices: Sequence[Choice], nested: int) -> Structure:
    def of(wanted: Collection[str]) -> Darts:
        return Darts(tuple(c for c in choices if c.name.partition("/")[0] in wanted))

    if not nested:
        return of(kinds)
    alone = {kind: of([kind]) for kind in kinds}
    return Untied(tuple((name, kind, alone[kind]) for name, kind in zip(names, kinds, strict=True)))


def darts(
    cells: int = 8,
    channels: int = 16,
    classes: int = 10,
    in_channels: int = 3,
    *,
    nodes: int = 4,
    stem_multiplier: int = 3,
    affine: bool = False,
    operations: Operations | None = None,
    partial: int = 1,
    nested: int = 0,
) -> nn.Module:
    """Return the DARTS search network, with the choices of `mimar.space.darts(nodes, operations)`.

    Cells at one and two thirds of the depth halve the resolution and double the channels. With fewer than three cells a
    kind of cell may be missing, and with it its choices. Batch-norm of the stem is affine always, as published.
    `partial`=K: every edge chooses on 1/K of its channels (`mimar.nets.Partial`), in the same space. `nested`=1: every
    cell has choices of its own, named by its number: ``normal0/0-2``. Raises UsageError on counts below 1, unknown
    operations and a K that does not divide the channels. Source: Liu, Simonyan, Yang, ICLR 2019.
    """
    check_counts(cells=cells, channels=channels, classes=classes, in_channels=in_channels)
    check_counts(nodes=nodes, stem_multiplier=stem_multiplier)
    plan = {cell: edge_operations(cell, nodes, operations) for cell in ("normal", "reduce")}
    check_parts(partial, channels)
    check_nested(nested)
    sizes = (cells, nodes), (channels, stem_multiplier), (in_channels, classes)
    return Network(plan, *sizes, affine=affine, partial=partial, nested=nested)


def darts_small(
    cells: int = 3,
    channels: int = 8,
    classes: int = 10,
    in_channels: int = 1,
    *,
    nodes: int = 4,
    stem_multiplier: int = 1,
    affine: bool = False,
    partial: int = 1,
    nested: int = 0,
) -> nn.Module:
    """Return the DARTS search network at the scale of small images: one normal and two reduction cells, eight channels."""
    return darts(
        cells,
        channels,
        classes,
        in_channels,
        nodes=nodes,
        stem_multiplier=stem_multiplier,
        affine=affine,
        partial=partial,
        nested=nested,
    )


def s1(
    cells: int = 8,
    channels: int = 16,
    classes: int = 10,
    in_channels: int = 3,
    *,
    stem_multiplier: int = 3,
    affine: bool = False,
    partial: int = 1,
    nested: int = 0,
) -> nn.Module:
    """Return the network of space S1: on each edge the two operations that the authors' search left.

    Source: Zela et al., ICLR 2020, appendix; the lists were checked against the authors' release.
    """
    return darts(
        cells,
        channels,
        classes,
        in_channels,
        stem_multiplier=stem_multiplier,
        affine=affine,
        operations=S1,
        partial=partial,
        nested=nested,
    )


def s2(
    cells: int = 8,
    channels: int = 16,
    classes: int = 10,
    in_channels: int = 3,
    *,
    stem_multiplier: int = 3,
    affine: bool = False,
    partial: int = 1,
    nested: int = 0,
) -> nn.Module:
    """Return the network of space S2: skip_connect or sep_conv_3x3 on every edge. Source: Zela et al., ICLR 2020."""
    return darts(
        cells,
        channels,
        classes,
        in_channels,
        stem_multiplier=stem_multiplier,
        affine=affine,
        operations=S2,
        partial=partial,
        nested=nested,
    )


def s3(
    cells: int = 8,
    channels: int = 16,
    classes: int = 10,
    in_channels: int = 3,
    *,
    stem_multiplier: int = 3,
    affine: bool = False,
    partial: int = 1,
    nested: int = 0,
) -> nn.Module:
    """Return the network of space S3: none (supernet only), skip_connect or sep_conv_3x3 on every edge. Source: Zela et al., ICLR 2020."""
    return darts(
        cells,
        channels,
        classes,
        in_channels,
        stem_multiplier=stem_multiplier,
        affine=affine,
        operations=S3,
        partial=partial,
        nested=nested,
    )


def s4(
    cells: int = 8,
    channels: int = 16,
    classes: int = 10,
    in_channels: int = 3,
    *,
    stem_multiplier: int = 3,
    affine: bool = False,
    partial: int = 1,
    nested: int = 0,
) -> nn.Module:
    """Return the network of space S4: noise or sep_conv_3x3 on every edge. Source: Zela et al., ICLR 2020."""
    return darts(
        cells,
        channels,
        classes,
        in_channels,
        stem_multiplier=stem_multiplier,
        affine=affine,
        operations=S4,
        partial=partial,
        nested=nested,
    )
