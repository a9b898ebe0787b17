"""The published cell spaces, without torch modules: tables, predictors and strategies need no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mimar.core.errors import SpaceError
from mimar.space.choice import Choice
from mimar.space.formats import DARTS_OPERATIONS, NASBENCH201_EDGES, NASBENCH201_OPERATIONS
from mimar.space.space import Space
from mimar.space.structures import Darts, NasBench201

Operations = Sequence[str] | Mapping[str, Sequence[Sequence[str]]]

_SKIP, _SEP3, _DIL3, _DIL5, _MAX, _AVG = (
    "skip_connect",
    "sep_conv_3x3",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "max_pool_3x3",
    "avg_pool_3x3",
)

# Zela et al., "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020: the pairs of operations that
# remain on each edge of S1, in the order of the edges above (appendix of the paper; checked against src/spaces.py of the
# authors' release).
S1: Mapping[str, Sequence[Sequence[str]]] = {
    "normal": (
        *((_SKIP, _DIL3), (_SKIP, _DIL5)),
        *((_SKIP, _DIL5), (_SKIP, _SEP3), (_SKIP, _DIL3)),
        *((_MAX, _SKIP), (_SKIP, _SEP3), (_SKIP, _SEP3), (_SKIP, _DIL3)),
        *((_SKIP, _SEP3), (_MAX, _SKIP), (_SKIP, _DIL3), (_DIL3, _DIL5), (_DIL3, _DIL5)),
    ),
    "reduce": (
        *((_MAX, _AVG), (_MAX, _DIL3)),
        *((_MAX, _AVG), (_MAX, _AVG), (_SKIP, _DIL5)),
        *((_MAX, _AVG), (_MAX, _SEP3), (_SKIP, _DIL3), (_SKIP, _DIL5)),
        *((_MAX, _AVG), (_MAX, _AVG), (_SKIP, _DIL5), (_SKIP, _DIL5), (_SKIP, _DIL5)),
    ),
}
S2: Sequence[str] = (_SKIP, _SEP3)
S3: Sequence[str] = ("none", _SKIP, _SEP3)
S4: Sequence[str] = ("noise", _SEP3)


def nasbench201(prefix: str = "cell") -> Space:
    """Return the NAS-Bench-201 space: five operations on each of six edges, 15,625 cells in official order."""
    choices = (Choice(f"{prefix}/{i}-{j}", NASBENCH201_OPERATIONS) for i, j in NASBENCH201_EDGES)
    return Space(choices, structure=NasBench201(prefix))


def darts(nodes: int = 4, operations: Operations | None = None) -> Space:
    """Return the DARTS space of two cells; see `darts_choices`."""
    choices = darts_choices(nodes, operations)
    return Space(choices, structure=Darts(choices))


def darts_choices(nodes: int = 4, operations: Operations | None = None) -> tuple[Choice, ...]:
    """Return the choices of normal and reduction cell, for each node its two inputs and then its edges.

    `operations`: one list for all edges (default: the eight of DARTS), or a list of lists for each of "normal" and
    "reduce", in the order 0-2, 1-2, 0-3, 1-3, 2-3, …. "none" exists in the supernet only. Raises SpaceError when their
    number does not fit.
    """
    if type(nodes) is not int or nodes < 1:
        raise SpaceError(f"a DARTS cell has at least one node, not {nodes!r}")
    choices: list[Choice] = []
    for cell in ("normal", "reduce"):
        lists = iter(edge_operations(cell, nodes, operations))
        for j in range(2, 2 + nodes):
            choices.append(Choice(f"{cell}/node{j}", tuple(map(str, range(j))), "some", 2))
            for i in range(j):
                options = next(lists)
                never = ("none",) if "none" in options else ()
                choices.append(Choice(f"{cell}/{i}-{j}", options, when=((f"{cell}/node{j}", str(i)),), never=never))
    return tuple(choices)


def edge_operations(cell: str, nodes: int = 4, operations: Operations | None = None) -> tuple[tuple[str, ...], ...]:
    """Return the operations of each edge of the cell "normal" or "reduce"."""
    edges = sum(range(2, 2 + nodes))
    if not isinstance(operations, Mapping):
        return (tuple(DARTS_OPERATIONS if operations is None else operations),) * edges
    lists = tuple(map(tuple, operations.get(cell, ())))
    if len(lists) != edges:
        raise SpaceError(
            f"the {cell} cell with {nodes} nodes has {edges} edges, but operations are given for {len(lists)}"
        )
    return lists
