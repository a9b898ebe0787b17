"""Evolution within the types of a typed space."""

from __future__ import annotations

import pytest

from mimar.core.errors import SpaceError
from mimar.space import Choice, Space, Trial
from mimar.space.transforms import Edge, Operation, Restrict, Wiring
from mimar.strategies import Evolution, Measurement
from mimar.strategies.exchange import Exchange

OPERATIONS = (
    Operation("conv3", 3, padding=1),
    Operation("conv5", 5, padding=2),
    Operation("pool2", 2, stride=2),
    Operation("skip"),
)
EDGES = tuple(Edge(f"{i}-{j}", f"n{i}", f"n{j}") for j in range(3) for i in range(j))
FREE = Space([Choice(e.choice, tuple(o.name for o in OPERATIONS)) for e in EDGES])
TYPED = Restrict(Wiring((("n0", (4, 8, 8)),), EDGES, OPERATIONS))(FREE).space


def test_children_of_an_evolution_keep_the_shapes_of_their_parents() -> None:
    searcher = Evolution(population=5, sample=2, variation=Exchange()).start(TYPED, 0)
    wiring = TYPED.constraints[0]
    known = {}
    for i in range(60):
        (proposal,) = searcher.ask(1)
        arch = proposal.architecture
        assert TYPED.valid(arch)
        if proposal.parent is not None:
            parent = known[proposal.parent]
            changed = [n for n in arch if arch[n] != parent[n]]
            assert wiring.infer(arch) == wiring.infer(parent)  # type: ignore[attr-defined]
            assert len(changed) == 1
        known[arch.digest] = arch
        searcher.tell([Trial(proposal, Measurement({"valid_accuracy": i % 7 / 7}))])


def test_a_space_without_types_is_refused() -> None:
    searcher = Evolution(population=1, sample=1, variation=Exchange()).start(FREE, 0)
    (proposal,) = searcher.ask(1)
    searcher.tell([Trial(proposal, Measurement({"valid_accuracy": 0.5}))])
    with pytest.raises(SpaceError, match="not typed"):
        searcher.ask(1)
