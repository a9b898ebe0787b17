"""Architectures as tensors, for predictors, surrogates and deciders.

N architectures, C choices, V graph nodes; choices in the order `space.ordered` (parents first).

* ``onehot``: float32 (N, D): one column per option (k-hot for `some`), one per `value` (its place in the range); zeros where
  inactive.
* ``unit-cube``: float64 (N, C) in [0, 1]: the middle of the value's share; 0.5 where inactive. Every point decodes.
* ``tokens``: int64 (N, C): 1 + number of the value among the choice's outcomes, 0 where inactive.
* ``path``: float32 (N, P): which operation sequences lead from an input to the output. Not invertible.
* ``graph``: `Graphs`: labels (N, V) and adjacency (N, V, V), operations on nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from mimar.core.errors import SpaceError, UsageError, nearest
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice, Value, holds

if TYPE_CHECKING:
    from mimar.space.space import Space
    from mimar.space.structures import Structure


class Graphs(NamedTuple):
    """Architectures as labelled graphs: labels int64 (N, V) into `vocabulary`, adjacency float32 (N, V, V), 1 at (from, to)."""

    labels: Tensor
    adjacency: Tensor
    vocabulary: tuple[str, ...]


def encode(space: Space, archs: Sequence[Architecture], kind: str) -> Tensor | Graphs:
    """Return the code of `archs`; raises UsageError on an unknown kind or one that the space does not have."""
    if kind not in _ENCODERS:
        raise UsageError(nearest(kind, _ENCODERS, kind="encoding"))
    return _ENCODERS[kind](space, archs)


def decode(space: Space, codes: Any, kind: str) -> list[Architecture]:
    """Return the architectures of `codes`; raises UsageError for `path`, SpaceError where a constraint is violated."""
    if kind == "path":
        raise UsageError("a path code cannot be decoded, because different architectures have the same paths")
    if kind not in _DECODERS:
        raise UsageError(nearest(kind, _DECODERS, kind="encoding"))
    archs = _DECODERS[kind](space, codes)
    for arch in archs:
        space.check(arch)
    return archs


def _onehot(space: Space, archs: Sequence[Architecture]) -> Tensor:
    rows = []
    for arch in archs:
        row: list[float] = []
        for choice in space.ordered:
            if choice.name not in arch:
                row += [0.0] * _columns(choice)
            elif choice.kind == "value":
                row.append(choice.unit(arch[choice.name]))
            else:
                row += [float(holds(arch[choice.name], option)) for option in choice.options]
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float32).view(len(archs), sum(map(_columns, space.ordered)))


def _columns(choice: Choice) -> int:
    return 1 if choice.kind == "value" else len(choice.options)


def _from_onehot(space: Space, codes: Tensor) -> list[Architecture]:
    _expect(codes, sum(map(_columns, space.ordered)), "onehot")
    archs = []
    for row in codes.tolist():
        values: dict[str, Value] = {}
        start = 0
        for choice in space.ordered:
            block = row[start : start + _columns(choice)]
            start += len(block)
            values[choice.name] = _strongest(choice, block)
        archs.append(space.complete(values, Choice.first))
    return archs


def _strongest(choice: Choice, block: list[float]) -> Value:
    if choice.kind == "value":
        return choice.at(min(max(block[0], 0.0), 1.0))
    ranked = sorted((i for i, o in enumerate(choice.options) if o in choice.allowed), key=lambda i: -block[i])
    if choice.kind == "some":
        return tuple(choice.options[i] for i in sorted(ranked[: choice.k]))
    return choice.options[ranked[0]]


def to_point(space: Space, arch: Architecture) -> list[float]:
    """Return the unit-cube code of one architecture as a list, one number a choice."""
    return [c.unit(arch[c.name]) if c.name in arch else 0.5 for c in space.ordered]


def from_point(space: Space, point: Sequence[float]) -> Architecture:
    """Return the architecture of one unit-cube code, numbers in [0, 1]; checks no constraint. Microseconds."""
    share = dict(zip([c.name for c in space.ordered], point, strict=True))
    return space.complete({}, lambda choice: choice.at(share[choice.name]))


def _unit_cube(space: Space, archs: Sequence[Architecture]) -> Tensor:
    rows = [to_point(space, arch) for arch in archs]
    return torch.tensor(rows, dtype=torch.float64).view(len(archs), len(space.ordered))


def _from_unit_cube(space: Space, codes: Tensor) -> list[Architecture]:
    _expect(codes, len(space.ordered), "unit-cube")
    return [from_point(space, row) for row in codes.double().clamp(0.0, 1.0).tolist()]


def _tokens(space: Space, archs: Sequence[Architecture]) -> Tensor:
    _countable(space)
    number = [{value: n for n, value in enumerate(c.outcomes, start=1)} for c in space.ordered]
    rows = [
        [known[arch[c.name]] if c.name in arch else 0 for c, known in zip(space.ordered, number, strict=True)]
        for arch in archs
    ]
    return torch.tensor(rows, dtype=torch.int64).view(len(archs), len(space.ordered))


def _from_tokens(space: Space, codes: Tensor) -> list[Architecture]:
    _countable(space)
    _expect(codes, len(space.ordered), "tokens")
    archs = []
    for row in codes.tolist():
        values: dict[str, Value] = {}
        for choice, token in zip(space.ordered, row, strict=True):
            if not 0 <= token <= len(choice.outcomes):
                raise SpaceError(f"the token of {choice.name!r} lies between 0 and {len(choice.outcomes)}, not {token}")
            if token:
                values[choice.name] = choice.outcomes[token - 1]
        archs.append(Architecture.trusted(values))
    return archs


def _countable(space: Space) -> None:
    endless = [c.name for c in space.ordered if c.kind == "value"]
    if endless:
        raise UsageError(f"the continuous choice {endless[0]!r} has no tokens; use the encoding 'unit-cube'")


def _path(space: Space, archs: Sequence[Architecture]) -> Tensor:
    structure = _structure(space, "path")
    codes = torch.zeros(len(archs), structure.path_count)
    for row, arch in zip(codes, archs, strict=True):
        row[structure.paths(arch)] = 1.0
    return codes


def _graph(space: Space, archs: Sequence[Architecture]) -> Graphs:
    structure = _structure(space, "graph")
    number = {label: n for n, label in enumerate(structure.vocabulary)}
    graphs = [structure.graph(arch) for arch in archs]
    size = max((len(labels) for labels, _ in graphs), default=0)
    if any(len(labels) < size for labels, _ in graphs):
        raise UsageError("graphs of this space differ in size: encode them one by one")
    adjacency = torch.zeros(len(graphs), size, size)
    for matrix, (_, edges) in zip(adjacency, graphs, strict=True):
        sources, targets = zip(*edges, strict=True)
        matrix[list(sources), list(targets)] = 1.0
    labels = torch.tensor([[number[label] for label in labels] for labels, _ in graphs], dtype=torch.int64)
    return Graphs(labels.view(len(graphs), size), adjacency, structure.vocabulary)


def _from_graph(space: Space, codes: Graphs) -> list[Architecture]:
    structure = _structure(space, "graph")
    if not isinstance(codes, Graphs):
        raise UsageError(f"graph codes are the Graphs that encode returned, not {type(codes).__name__}")
    archs = []
    for labels, matrix in zip(codes.labels.tolist(), codes.adjacency, strict=True):
        edges = [(a, b) for a, b in matrix.nonzero().tolist()]
        archs.append(structure.ungraph(([codes.vocabulary[label] for label in labels], edges)))
    return archs


def _structure(space: Space, kind: str) -> Structure:
    if space.structure is None:
        raise UsageError(
            f"this space has no graph structure and hence no {kind} code; use 'onehot', 'unit-cube' or 'tokens'"
        )
    return space.structure


def _expect(codes: Tensor, columns: int, kind: str) -> None:
    if not isinstance(codes, Tensor) or codes.dim() != 2 or codes.shape[1] != columns:
        shape = tuple(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
        raise UsageError(f"{kind} codes of this space have the shape (N, {columns}), not {shape}")


_ENCODERS: dict[str, Callable[[Space, Sequence[Architecture]], Tensor | Graphs]] = {
    "onehot": _onehot,
    "unit-cube": _unit_cube,
    "tokens": _tokens,
    "path": _path,
    "graph": _graph,
}
_DECODERS: dict[str, Callable[[Space, Any], list[Architecture]]] = {
    "onehot": _from_onehot,
    "unit-cube": _from_unit_cube,
    "tokens": _from_tokens,
    "graph": _from_graph,
}
