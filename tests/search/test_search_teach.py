"""Teaching as a search: its state, its determinism, that it learns, what it leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from mimar.core.errors import NonFiniteError, UsageError
from mimar.core.events import Record, Step
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.recipes import gtn
from mimar.search.finish import architecture
from mimar.search.teach import Teach
from mimar.testing import check_recipe
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import tiny_task

TINY = {"iterations": 3, "steps": 3, "batch": 8, "noise": 3, "width": 2, "imitate": 2, "candidates": 2, "checkpoint": 2}


def search(**more: Any) -> Teach:
    given = {"net": tiny_model().float(), "task": tiny_task(), "baseline": 1, "retrain": Retrain(epochs=1, batch=16)}
    return gtn.recipe(**{**given, **TINY, **more})


def finished(part: Teach, state: State) -> list[dict[str, Any]]:
    return [e.data for e in part.events(state) if isinstance(e, Record)]


def taught(part: Teach) -> tuple[State, list[float]]:
    """Run the search phase; return the state there and the losses of the learners."""
    state, losses = part.start(), []
    for event in part.events(state):
        if isinstance(event, Step) and event.label == "teach":
            losses.append(event.figures["loss"])
            if event.done == event.total:
                return state, losses
    raise AssertionError("the search did not teach")


def test_kit() -> None:
    check_recipe("gtn", options={k: v for k, v in TINY.items() if k != "candidates"})


def test_resumed_from_any_step_it_ends_the_same() -> None:
    part = search()
    state, events, kept = part.start(), [], []
    for event in part.events(state):
        events.append(event)
        if isinstance(event, Step):
            kept.append((sum(isinstance(e, Record) for e in events), state.snapshot()))
    whole = [e.data for e in events if isinstance(e, Record)]
    json.dumps(state.json, allow_nan=False)  # JSON and nothing else
    labels = [e.label for e in events if isinstance(e, Step)]
    assert labels[:7] == ["imitate", "imitate", "teach", "teach", "teach", "rank", "rank"]
    for before, snapshot in (kept[0], kept[3], kept[5]):  # imitating, teaching, ranking; the kit stops elsewhere
        assert finished(part, snapshot) == whole[before:]
        assert snapshot.json == state.json and snapshot.tensors.keys() == state.tensors.keys()
        assert all(torch.equal(t, snapshot.tensors[n]) for n, t in state.tensors.items())


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": 4},
        {"batch": 6},
        {"noise": 4},
        {"width": 3},
        {"curriculum": False},
        {"every": 1},
        {"rate": 0.05},
        {"lr": 0.2},
        {"momentum": 0.8},
        {"imitate": 1},
        {"iterations": 2},
        {"seed": 1},
    ],
    ids=lambda c: next(iter(c)),
)
def test_every_option_acts_on_the_learner_s_loss(changed: dict[str, Any]) -> None:
    assert taught(search(**changed))[1] != taught(search())[1]


def test_checkpoints_change_no_more_than_rounding() -> None:
    losses = [taught(search(checkpoint=n))[1] for n in (0, 1, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0] == pytest.approx(losses[2], rel=1e-4)


def test_teacher_learns_data_on_which_a_network_learns() -> None:
    more = {"iterations": 40, "steps": 6, "batch": 16, "width": 8, "imitate": 0, "rate": 0.03, "lr": 0.2, "every": 0}
    _, losses = taught(search(**more))
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_imitation_comes_near_to_real_images() -> None:
    _, cold = taught(search(iterations=1, steps=6, batch=16, width=8, imitate=0))
    _, warm = taught(search(iterations=1, steps=6, batch=16, width=8, imitate=200))
    assert warm[0] < cold[0]


def test_result_names_the_best_candidate_and_the_teacher_stays() -> None:
    part = search(candidates=4, steps=8, batch=16, width=8, imitate=60)
    state = part.start()
    records = finished(part, state)
    derived, result = (next(r for r in records if r["event"] == name) for name in ("derived", "finished"))
    found = result["result"]
    assert len(derived["ranked"]) == 4 and min(derived["ranked"]) < max(derived["ranked"])
    assert found["supernet"]["taught_accuracy"] == max(derived["ranked"])
    chosen = architecture(found["architecture"])
    assert chosen == architecture(derived["architecture"])
    rating = part.taught(state).evaluate(chosen)
    assert rating.metrics["accuracy"] == max(derived["ranked"])


def test_cost_counts_what_is_done() -> None:
    def cost(**more: Any) -> float:
        part = search(**more)
        return part.cost(part.lab(), part.start().group("teacher"))

    assert cost(iterations=6) > cost()
    assert cost(imitate=0) < cost() and cost(checkpoint=0) < cost() and cost(every=0) < cost(every=1)
    plain = {"imitate": 0, "candidates": 1}
    assert cost(iterations=5, **plain) - cost(iterations=4, **plain) == pytest.approx(
        cost(iterations=4, **plain) - cost(iterations=3, **plain)
    )


def test_divergence_and_too_large_batches_are_told() -> None:
    with pytest.raises(NonFiniteError, match="iteration 1 .*lower the teacher's first learning rate"):
        taught(search(lr=1e30, imitate=0))
    with pytest.raises(UsageError, match="more than the 32 training samples"):
        search(batch=64).start()
