"""Typed spaces: every operation has a type, from the shape that it takes to the shape that it gives.

Shapes are (channels, height, width). Along each axis a window of `kernel` k with stride s, padding p and dilation d makes

    H' = ⌊(H + 2p − d(k − 1) − 1) / s⌋ + 1

so that operations with the same channels, s and 2p − d(k − 1) can be exchanged wherever they stand. Networks whose shapes
do not agree are refused before they are built, with the edge that is to blame. Wu et al., "Neural architecture type
system", 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from mimar.core.errors import SpaceError
from mimar.core.streams import Rng, below, source
from mimar.space.architecture import Architecture
from mimar.space.space import Space

Shape = tuple[int, int, int]  # (channels, height, width)
Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Operation:
    """An operation by its type: a convolution, a pooling, or what keeps shapes (the defaults).

    `takes`: the channels that it needs, None for any; `gives`: the channels that it makes, None for as many as it takes.
    """

    name: str
    kernel: Pair = 1
    stride: Pair = 1
    padding: Pair = 0
    dilation: Pair = 1
    takes: int | None = None
    gives: int | None = None

    def infer(self, shape: Shape) -> Shape:
        """Return the shape that it makes of one; raises SpaceError where it does not take that one."""
        channels, *sides = shape
        if self.takes is not None and channels != self.takes:
            raise SpaceError(f"{self.name} takes {self.takes} channels, and is given {_text(shape)}")
        reach = [side + extra - 1 for side, (extra, _) in zip(sides, self.window, strict=True)]
        if min(reach) < 0:
            raise SpaceError(f"{self.name} has a larger window than it is given, {_text(shape)} with its padding")
        height, width = (r // step + 1 for r, (_, step) in zip(reach, self.window, strict=True))
        return self.gives or channels, height, width

    @cached_property
    def window(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """What decides the size along height and width: (2p − d(k − 1), s) each."""
        sides = zip(*map(_pair, (self.kernel, self.stride, self.padding, self.dilation)), strict=True)
        height, width = ((2 * p - d * (k - 1), s) for k, s, p, d in sides)
        return height, width

    @property
    def signature(self) -> tuple[Any, ...]:
        """What two operations share that can be exchanged wherever they stand."""
        return self.takes, self.gives, self.window


def classes(operations: Sequence[Operation], shape: Shape | None = None) -> list[tuple[str, ...]]:
    """Return the names of operations that can be exchanged: for an input of `shape`, or (None) wherever they stand.

    Operations that do not take the shape are in no class.
    """
    found: dict[Any, list[str]] = {}
    for operation in operations:
        if shape is None:
            found.setdefault(operation.signature, []).append(operation.name)
        elif (given := _given(operation, shape)) is not None:
            found.setdefault(given, []).append(operation.name)
    return [tuple(names) for names in found.values()]


def adapter(given: Shape, wanted: Shape, name: str = "adapter") -> Operation:
    """Return the convolution of the smallest padding, then the largest stride, then the smallest window between two shapes."""

    def side(a: int, b: int) -> tuple[int, int, int]:
        padding = max(-(-(b - a) // 2), 0)
        room = a + 2 * padding
        stride = max((room - 1) // (b - 1), 1) if b > 1 else room
        return room - (b - 1) * stride, stride, padding

    height, width = (side(a, b) for a, b in zip(given[1:], wanted[1:], strict=True))
    kernel, stride, padding = zip(height, width, strict=True)
    return Operation(name, kernel, stride, padding, takes=given[0], gives=wanted[0])


class Edge(NamedTuple):
    """The operation that the choice `choice` takes, from the node `source` to the node `target`."""

    choice: str
    source: str
    target: str


@dataclass(frozen=True)
class Wiring:
    """Where the choices of a space stand in a network, and so which architectures are well typed; a constraint of spaces.

    `inputs`: nodes with their shapes; `edges`: sources before their targets; a node is the sum of what its edges bring,
    all of one shape, or their concatenation, of one size. An option that is none of `operations`, and an inactive choice,
    bring nothing, as does an edge from a node without anything. `output`: the shape of the last target, None for any.
    """

    inputs: tuple[tuple[str, Shape], ...]
    edges: tuple[Edge, ...]
    operations: tuple[Operation, ...]
    join: Literal["sum", "concat"] = "sum"
    output: Shape | None = None

    def __post_init__(self) -> None:
        known = {name for name, _ in self.inputs}
        for i, edge in enumerate(self.edges):
            later = {e.target for e in self.edges[i + 1 :]}
            if edge.source not in known or edge.source in later:
                raise SpaceError(f"the edge {edge.choice!r} leaves {edge.source!r} before all that enters it is known")
            known.add(edge.target)

    def __call__(self, arch: Architecture) -> bool:
        """Tell whether an architecture is well typed."""
        try:
            self.infer(arch)
        except SpaceError:
            return False
        return True

    @cached_property
    def _named(self) -> dict[str, Operation]:
        return {o.name: o for o in self.operations}

    def infer(self, arch: Mapping[str, Any]) -> dict[str, Shape]:
        """Return the shape of every node that gets something; raises SpaceError naming the edge that does not fit."""
        shapes = dict(self.inputs)
        for edge, operation in self._edges(arch, shapes):
            try:
                brought = operation.infer(shapes[edge.source])
            except SpaceError as error:
                raise SpaceError(f"{_edge(edge)}: {error}") from None
            problem = self._joined(shapes, edge, brought)
            if problem:
                raise SpaceError(f"{_edge(edge)}: {operation.name} brings {_text(brought)}, and {problem}")
        last = self.edges[-1]
        if self.output is not None and shapes.get(last.target) != self.output:
            has = _text(shapes[last.target]) if last.target in shapes else "nothing"
            raise SpaceError(f"{_edge(last)}: {last.target!r} has {has}; it must be {_text(self.output)}")
        return shapes

    def _edges(self, arch: Mapping[str, Any], shapes: Mapping[str, Shape]) -> Iterator[tuple[Edge, Operation]]:
        """Yield the edges that bring something; `shapes` grows while they are walked."""
        for edge in self.edges:
            operation = self._named.get(arch.get(edge.choice, ""))
            if operation is not None and edge.source in shapes:
                yield edge, operation

    def _joined(self, shapes: dict[str, Shape], edge: Edge, brought: Shape) -> str | None:
        """Note what an edge brings to its node; return why it does not fit, or None."""
        there = shapes.get(edge.target)
        if there is None:
            shapes[edge.target] = brought
        elif self.join == "sum" and there != brought:
            return f"{edge.target!r} has {_text(there)}"
        elif self.join == "concat" and there[1:] != brought[1:]:
            return f"{edge.target!r} has {_text(there)}, of another size"
        elif self.join == "concat":
            shapes[edge.target] = (there[0] + brought[0], *there[1:])
        return None

    def exchangeable(self, arch: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Return, for every edge that brings something, the operations that give the same there, its own among them."""
        shapes = self.infer(arch)
        found = {}
        for edge, operation in self._edges(arch, shapes):
            at = shapes[edge.source]
            same = [o.name for o in self.operations if _given(o, at) == operation.infer(at)]
            found[edge.choice] = tuple(same)
        return found

    def adapters(self, arch: Mapping[str, Any]) -> list[tuple[str, Literal["before", "after"], Operation]]:
        """Return the convolutions that make a network well typed: (choice of the edge, where, convolution).

        One before an operation gives it the channels that it takes, one after it gives the shape that its node has, by
        the first edge that enters it, or that the output must have. Raises SpaceError where a window is too large.
        """
        shapes, found = dict(self.inputs), []
        last = self.edges[-1].target
        for edge, operation in self._edges(arch, shapes):
            given = shapes[edge.source]
            if operation.takes not in (None, given[0]):
                wanted: Shape = (operation.takes or given[0], *given[1:])
                found.append((edge.choice, "before", adapter(given, wanted)))
                given = wanted
            brought = operation.infer(given)
            there = shapes.get(edge.target)
            if edge.target == last and self.output is not None and self.join == "sum":
                there = self.output
            wanted = there if there is not None and self.join == "sum" else (brought[0], *(there or brought)[1:])
            if brought != wanted:
                found.append((edge.choice, "after", adapter(brought, wanted)))
            self._joined(shapes, edge, wanted)
        return found  # type: ignore[return-value]


def wiring_of(space: Space) -> Wiring:
    """Return the wiring among the constraints of a typed space; raises SpaceError where there is none."""
    found: Callable[..., Any]
    for found in space.constraints:
        if isinstance(found, Wiring):
            return found
    raise SpaceError("this space is not typed: none of its constraints is a Wiring")


def exchange(space: Space, arch: Architecture, rng: Rng) -> Architecture:
    """Return a mutation of `arch` within the types: one operation replaced by another that gives the same shape there.

    Uniform over the edges that have one, then over the operations: nothing is drawn twice. Where no edge has one it is a
    mutation of the space, by rejection.
    """
    rng, wiring = source(rng), wiring_of(space)
    others = {
        name: left
        for name, same in wiring.exchangeable(arch).items()
        if (left := [o for o in same if o != arch[name] and o in space[name].allowed])
    }
    if not others:
        return space.mutate(arch, rng)
    name = list(others)[below(rng, len(others))]
    return space.complete({**arch, name: others[name][below(rng, len(others[name]))]}, space.filler(rng))


def _given(operation: Operation, shape: Shape) -> Shape | None:
    try:
        return operation.infer(shape)
    except SpaceError:
        return None


def _pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _text(shape: Shape) -> str:
    return "×".join(map(str, shape))


def _edge(edge: Edge) -> str:
    return f"the edge {edge.choice!r} from {edge.source!r} to {edge.target!r} is ill typed"
