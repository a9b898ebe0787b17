"""NAS-Bench-Graph: 26,206 graph neural networks of four layers on four citation graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Any, ClassVar, Literal

import numpy as np

from mimar.core.errors import SpaceError
from mimar.core.ranges import validate
from mimar.evaluators.table import Table
from mimar.evaluators.table_file import arrays
from mimar.space import Architecture, Choice, Space
from mimar.space.structures import Graph, sequence_number
from mimar.tasks import locate

SETS = ("cora", "citeseer", "pubmed", "arxiv")
OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
LINKS = ("0000", "0001", "0011", "0012", "0013", "0111", "0112", "0122", "0123")  # the rooted trees of five nodes
LAYERS = tuple(f"op{i}" for i in range(1, 5))
SKIP = OPERATIONS.index("skip")
SCALE = 30_000  # accuracies are whole numbers of this share

Cell = tuple[tuple[int, ...], tuple[int, ...]]  # for each layer the one before it (0: the input), and its operation


@dataclass(frozen=True)
class NasBenchGraph:
    """The table of one graph: validation and test accuracy (means of three trainings), latency and parameters.

    The space: four layers, each on the input or on an earlier layer, those that nothing stands on joined as the output;
    up to the order of layers these are nine structures, the choice "link" ("0112": the first layer on the input, the
    second and third on the first, the fourth on the second), and four operations. 59,049 combinations; one is a row, or
    the same network as one (see `Layers.canonical`), but for the combination of four skips, which is none.
    Costs are not published: the budget of a search that names none is 100 queries. Qin et al., "NAS-Bench-Graph",
    NeurIPS 2022.
    """

    data: Literal["cora", "citeseer", "pubmed", "arxiv"] = "cora"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the table. Raises DataAbsentError, saying where to get it, when it is not on this machine."""
        held, k = (
            arrays(locate.find("nasbench-graph"), "link", "ops", "valid", "test", "latency_us", "params"),
            SETS.index(self.data),
        )
        digits = held["link"] @ np.array([1000, 100, 10, 1])
        links = np.searchsorted([int(link) for link in LINKS], digits)
        choices = [Choice("link", LINKS), *(Choice(name, OPERATIONS) for name in LAYERS)]
        return Table.from_arrays(
            Space(choices, (NotAllSkips(),), structure=Layers()),
            {"valid_accuracy": held["valid"][k] / SCALE},
            codes=np.column_stack([links, held["ops"]]),
            final={"test_accuracy": held["test"][k] / SCALE},
            known={"params": held["params"][k], "latency": held["latency_us"][k] / 1e6},
            units={"latency": "s"},
            name="nasbench-graph",
            partial=True,  # of networks that are the same one has the row
            budget=100.0,
        )


@dataclass(frozen=True)
class NotAllSkips:
    """Holds unless every layer is a skip."""

    def __call__(self, arch: Mapping[str, Any]) -> bool:
        return any(arch[name] != "skip" for name in LAYERS)


@dataclass(frozen=True)
class Layers:
    """What the choices mean as a graph: input, four layers, output."""

    layout = None
    vocabulary = ("input", "output", *OPERATIONS)
    path_count = sum(len(OPERATIONS) ** n for n in range(1, 5))

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the representative of the networks that are the same by the benchmark's rule.

        Skips that something stands on, that stand alone on their layer, or that reach the input through skips alone are
        taken out, one after another, and put before all other layers: there they do nothing. Then, of all orders of the
        layers, the one whose structure is in the list and whose operations are least.
        """
        link, ops = _least(_contracted(_cell(arch)))
        return _architecture(link, ops)

    def simplify(self, arch: Architecture) -> Architecture:
        """Return the canonical form: no layer is dead, and it is where skips do nothing visibly."""
        return self.canonical(arch)

    def enumerate(self) -> Iterator[Architecture] | None:
        """Return None: no order was published."""
        return None

    def paths(self, arch: Architecture) -> list[int]:
        """Number the operation sequences from the input to each layer that nothing stands on."""
        link, ops = _cell(arch)
        ways: list[tuple[str, ...]] = [()]
        for father, op in zip(link, ops, strict=True):
            ways.append((*ways[father], OPERATIONS[op]))
        return sorted({sequence_number(ways[i], OPERATIONS) for i in range(1, 5) if i not in link})

    def graph(self, arch: Architecture) -> Graph:
        """Return input, layers in order, output."""
        link, ops = _cell(arch)
        edges = [(father, i) for i, father in enumerate(link, start=1)]
        edges += [(i, 5) for i in range(1, 5) if i not in link]
        return ["input", *(OPERATIONS[op] for op in ops), "output"], edges

    def ungraph(self, graph: Graph) -> Architecture:
        """Return the architecture of a graph with the labels and places of `graph`."""
        labels, edges = graph
        father = {b: a for a, b in edges if b < 5}
        try:
            link = tuple(father[i] for i in range(1, 5))
            ops = tuple(OPERATIONS.index(label) for label in labels[1:5])
            return _architecture(link, ops)
        except (KeyError, ValueError):
            raise SpaceError(f"these labels and edges are no network of this space: {labels}, {edges}") from None


def _cell(arch: Mapping[str, Any]) -> Cell:
    try:
        return tuple(map(int, arch["link"])), tuple(OPERATIONS.index(arch[name]) for name in LAYERS)
    except (KeyError, ValueError) as error:
        raise SpaceError(f"this is not an architecture of the NAS-Bench-Graph space: {error}") from None


def _architecture(link: tuple[int, ...], ops: tuple[int, ...]) -> Architecture:
    text = "".join(map(str, link))
    LINKS.index(text)
    return Architecture.trusted({"link": text, **{n: OPERATIONS[op] for n, op in zip(LAYERS, ops, strict=True)}})


def _contracted(cell: Cell) -> Cell:
    """Move every skip that does nothing to the front, in the order of the layers."""
    link, ops = list(cell[0]), list(cell[1])
    for i in range(4):
        alone = link.count(link[i]) == 1
        if ops[i] != SKIP or not (i + 1 in link or alone or _raw(link, ops, i)):
            continue
        father = link[i]
        rest = [
            father if f == i + 1 else f for f in (*link[:i], *link[i + 1 :])
        ]  # who stood on it stands on its father
        link = [0, *(f + 1 if f <= i else f for f in rest)]
        ops = [SKIP, *ops[:i], *ops[i + 1 :]]
    return tuple(link), tuple(ops)


def _raw(link: list[int], ops: list[int], i: int) -> bool:
    """Tell whether a layer and all that it stands on are skips."""
    while i >= 0:
        if ops[i] != SKIP:
            return False
        i = link[i] - 1
    return True


@lru_cache(maxsize=65536)
def _least(cell: Cell) -> Cell:
    link, ops = cell
    found = []
    for order in permutations(range(1, 5)):  # order[p]: the old number of the layer that comes p-th
        place = {0: 0, **{old: new for new, old in enumerate(order, start=1)}}
        moved = tuple(place[link[old - 1]] for old in order)
        if "".join(map(str, moved)) in LINKS and all(f < i for i, f in enumerate(moved, start=1)):
            found.append((moved, tuple(ops[old - 1] for old in order)))
    return min(found)
