"""Random search as a strategy: valid, repeatable, resumable, deaf."""

from __future__ import annotations

import json

import pytest

from mimar import space
from mimar.core.errors import UsageError
from mimar.core.streams import stream
from mimar.strategies import Measurement, Proposal, Random, Trial


def test_proposals_are_valid_and_repeatable() -> None:
    table = space.nasbench201()
    first, again = (Random().start(table, 3) for _ in range(2))
    ours = first.ask(5)
    assert [p.architecture for p in ours] == [p.architecture for p in again.ask(2) + again.ask(3)]
    assert all(table.valid(p.architecture) for p in ours)
    assert ours[0].architecture == table.sample(stream(3, "random", 0))
    assert ours != Random().start(table, 4).ask(5)


def test_serialised_in_the_middle_it_goes_on() -> None:
    searcher = Random().start(space.nasbench201(), 0)
    searcher.ask(3)
    state = json.loads(json.dumps(searcher.state_dict()))
    other = Random().start(space.nasbench201(), 0)
    other.load_state_dict(state)
    assert other.ask(4) == searcher.ask(4)


def test_it_does_not_listen() -> None:
    told, deaf = (Random().start(space.nasbench201(), 0) for _ in range(2))
    (proposal,) = told.ask(1)
    told.tell(
        [Trial(proposal, Measurement({}, status="failed")), Trial(Proposal(proposal.architecture), Measurement({}))]
    )
    deaf.ask(1)
    assert told.ask(3, pending=[proposal]) == deaf.ask(3)
    assert told.ask(0) == []
    with pytest.raises(UsageError, match="at least 0"):
        told.ask(-1)
