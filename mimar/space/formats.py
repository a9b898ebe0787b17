"""Published notations of cells: NAS-Bench-201 strings and DARTS genotypes, both ways."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mimar.core.errors import SpaceError, nearest

NASBENCH201_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NASBENCH201_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
DARTS_OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
GENOTYPE_OPERATIONS = (*DARTS_OPERATIONS[1:], "noise")


class Genotype(NamedTuple):
    """A DARTS cell pair: (operation, input) twice for each intermediate node, and the nodes that make the output."""

    normal: list[tuple[str, int]]
    normal_concat: list[int]
    reduce: list[tuple[str, int]]
    reduce_concat: list[int]


def to_nasbench201(items: Mapping[str, Any]) -> str:
    """Return ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``; raises SpaceError when the six edges are not all there."""
    found = {name.rpartition("/")[0] for name in items if name.endswith("/0-1")}
    prefix = found.pop() if len(found) == 1 else ""
    try:
        ops = {(i, j): items[f"{prefix}/{i}-{j}"] for i, j in NASBENCH201_EDGES}
    except KeyError as error:
        raise SpaceError(f"this is not a NAS-Bench-201 cell: it has no choice {error}") from None
    if len(items) != len(ops):
        raise SpaceError(f"this is not a NAS-Bench-201 cell: it has {len(items)} choices instead of 6")
    return "+".join("|" + "".join(f"{ops[i, j]}~{i}|" for i in range(j)) for j in (1, 2, 3))


def from_nasbench201(text: str, prefix: str = "cell") -> dict[str, Any]:
    """Return the six edges of a benchmark string; raises SpaceError on any other text."""
    pattern = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
    nodes = text.strip().split("+") if isinstance(text, str) else []
    if len(nodes) != 3:
        raise SpaceError(f"a NAS-Bench-201 string looks like {pattern}, not {text!r}")
    ops: dict[tuple[int, int], str] = {}
    for j, node in enumerate(nodes, start=1):
        parts = [part.split("~") for part in node.strip("|").split("|")]
        if [part[1:] for part in parts] != [[str(i)] for i in range(j)]:
            raise SpaceError(f"a NAS-Bench-201 string looks like {pattern}, not {text!r}")
        for i, (op, _) in enumerate(parts):
            if op not in NASBENCH201_OPERATIONS:
                raise SpaceError("NAS-Bench-201 string: " + nearest(op, NASBENCH201_OPERATIONS, kind="operation"))
            ops[i, j] = op
    return {f"{prefix}/{i}-{j}": ops[i, j] for i, j in NASBENCH201_EDGES}


def to_genotype(items: Mapping[str, Any]) -> Genotype:
    """Return the genotype of a DARTS architecture; raises SpaceError when it is not one."""
    cells = []
    for cell in ("normal", "reduce"):
        nodes = sorted(int(m[1]) for name in items if (m := re.fullmatch(rf"{cell}/node(\d+)", name)))
        if not nodes or nodes != list(range(2, 2 + len(nodes))):
            raise SpaceError(
                f"this is not a DARTS architecture: its {cell} cell has the nodes {nodes}, expected 2, 3, …"
            )
        try:
            pairs = [(items[f"{cell}/{i}-{j}"], int(i)) for j in nodes for i in items[f"{cell}/node{j}"]]
        except KeyError as error:
            raise SpaceError(f"this is not a whole DARTS architecture: it has no choice {error}") from None
        if len(pairs) != 2 * len(nodes):
            raise SpaceError(f"a genotype has two inputs a node, but the {cell} cell has {len(pairs)} for {len(nodes)}")
        cells.append((pairs, nodes))
    if len(items) != sum(len(pairs) + len(nodes) for pairs, nodes in cells):
        raise SpaceError("this is not a DARTS architecture: it has choices beside its normal and reduce cells")
    return Genotype(*cells[0], *cells[1])


def from_genotype(genotype: Genotype | str) -> dict[str, Any]:
    """Return the choices of a genotype; the order of the two inputs of a node carries no meaning and is sorted.

    Raises SpaceError for operations that do not exist or are never derived, inputs that do not precede their node, the
    same input twice, and an output that is not the concatenation of all intermediate nodes.
    """
    genotype = parse_genotype(genotype) if isinstance(genotype, str) else genotype
    items: dict[str, Any] = {}
    for cell in ("normal", "reduce"):
        pairs, concat = list(getattr(genotype, cell)), list(getattr(genotype, f"{cell}_concat"))
        nodes = range(2, 2 + len(pairs) // 2)
        if not pairs or len(pairs) % 2:
            raise SpaceError(f"genotype: the {cell} cell has {len(pairs)} pairs; expected two for each node")
        if concat != list(nodes):
            raise SpaceError(f"genotype: {cell}_concat is {concat}; expected all intermediate nodes {list(nodes)}")
        for j in nodes:
            items |= _node(cell, j, pairs[2 * (j - 2) : 2 * (j - 1)])
    return items


def _node(cell: str, j: int, pairs: list[Any]) -> dict[str, Any]:
    for pair in pairs:
        if not (
            isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) is int
        ):
            raise SpaceError(f"genotype: {pair!r} in the {cell} cell is not a pair (operation, input)")
        op, i = pair
        if op not in GENOTYPE_OPERATIONS:
            raise SpaceError(f"genotype, {cell} cell: " + nearest(op, GENOTYPE_OPERATIONS, kind="operation"))
        if not 0 <= i < j:
            raise SpaceError(
                f"genotype: node {j} of the {cell} cell takes the input {i}; it lies between 0 and {j - 1}"
            )
    ordered = sorted(pairs, key=lambda pair: pair[1])
    if ordered[0][1] == ordered[1][1]:
        raise SpaceError(f"genotype: node {j} of the {cell} cell takes the input {ordered[0][1]} twice")
    node = {f"{cell}/node{j}": tuple(str(i) for _, i in ordered)}
    return node | {f"{cell}/{i}-{j}": op for op, i in ordered}


def parse_genotype(text: str) -> Genotype:
    """Return the genotype written as ``Genotype(normal=[…], normal_concat=[…] or range(2, 6), …)``; evaluates nothing."""
    shape = "expected Genotype(normal=[…], normal_concat=[…], reduce=[…], reduce_concat=[…])"
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpaceError(f"the genotype cannot be read; {shape}") from None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype"):
        raise SpaceError(f"the text is not a genotype; {shape}")
    given = dict(zip(Genotype._fields, call.args, strict=False)) | {str(k.arg): k.value for k in call.keywords}
    if set(given) != set(Genotype._fields) or len(call.args) + len(call.keywords) != len(Genotype._fields):
        raise SpaceError(f"the genotype has the fields {', '.join(given) or 'none'}; {shape}")
    return Genotype(**{name: _literal(name, node) for name, node in given.items()})


def _literal(name: str, node: ast.expr) -> Any:
    try:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("range", "list"):
            inner = [_literal(name, a) if isinstance(a, ast.Call) else ast.literal_eval(a) for a in node.args]
            values = list(range(*inner)) if node.func.id == "range" and max(map(abs, inner)) < 1000 else list(*inner)
        else:
            values = list(ast.literal_eval(node))
    except (ValueError, TypeError):
        raise SpaceError(f"the field {name} of the genotype must be a list of plain values") from None
    return values
