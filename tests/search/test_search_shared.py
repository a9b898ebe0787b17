"""Shared weights as an evaluator: trained once, charged first, the same after a kill, and never a table's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mimar import recipes
from mimar.core.errors import UsageError
from mimar.core.events import Record
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import Trials, finish
from mimar.search.lab import Lab
from mimar.search.shared import Sharing
from mimar.space import Choice, Proposal, Space
from mimar.study import cover
from mimar.testing import check_recipe
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import tiny_task

SHARED = Trials(evaluator="shared:epochs=2,batch=16")


def search(name: str, **more: Any) -> Any:
    given = {"task": tiny_task(), "net": tiny_model().float(), "queries": 6, "baseline": 1, "trials": SHARED}
    return recipes.load(name)[1](**given, retrain=Retrain(epochs=1, batch=16), **more)


def test_scores_are_those_of_the_shared_weights_and_are_paid_for() -> None:
    lab = Lab(tiny_model().float(), tiny_task(), 3, "cpu")
    evaluator = Sharing(epochs=2, batch=16).on(lab, 3, "cpu")
    before = [w.clone() for w in lab.supernet.weights]
    spent = evaluator.prepare(3)
    assert spent > 0 and any(not torch.equal(a, b) for a, b in zip(before, lab.supernet.weights, strict=True))
    after = [w.clone() for w in lab.supernet.weights]
    assert evaluator.prepare(3) == spent
    for architecture in lab.space.enumerate():
        found = evaluator.evaluate(Proposal(architecture))
        assert found.metrics["valid_accuracy"] == finish.shared_score(lab, lab.supernet.gates(architecture), 16)
        assert found.cost > 0 and {"params", "macs"} <= set(found.metrics)
        assert dict(evaluator.costs(architecture)) == {k: found.metrics[k] for k in ("params", "macs")}
    assert all(torch.equal(a, b) for a, b in zip(after, lab.supernet.weights, strict=True))


def test_lower_fidelities_are_nested_parts_of_the_validation_half() -> None:
    """32 samples: chunks of 3, so that a third is 9."""
    lab = Lab(cover.net(), cover.task(), 3, "cpu")
    evaluator = Sharing(epochs=1, batch=16).on(lab, 3, "cpu")
    evaluator.prepare(3)
    assert lab.data.size("valid") == 32 and evaluator.chunk == 3 and evaluator.fidelities == (3.0, 9.0, 32.0)
    three, nine = (torch.cat([b.x for b in evaluator._part(n)]) for n in (3, 9))
    assert len(three) == 3 and torch.equal(three, nine[:3]) and len(nine.flatten(1).unique(dim=0)) == 9
    every = {tuple(x.tolist()) for b in lab.data.batches("valid", None, size=32) for x in b.x.flatten(1)}
    assert {tuple(x.tolist()) for x in nine.flatten(1)} < every
    for architecture in list(lab.space.enumerate())[::20]:
        gates = lab.supernet.gates(architecture)
        whole = evaluator.evaluate(Proposal(architecture))
        low, middle, full = (evaluator.evaluate(Proposal(architecture), f) for f in evaluator.fidelities)
        assert full == whole and evaluator.evaluate(Proposal(architecture, fidelity=9.0)) == middle
        assert low.metrics["valid_accuracy"] * 3 == pytest.approx(round(low.metrics["valid_accuracy"] * 3))
        parts = [finish.shared_score(lab, gates, 16, [b]) for b in evaluator._part(9)]
        assert middle.metrics["valid_accuracy"] == pytest.approx(sum(parts) / 3, abs=1e-12)
        assert full.cost - low.cost == pytest.approx((32 - 3) / (9 - 3) * (middle.cost - low.cost))
    with pytest.raises(UsageError, match="has no fidelity 5; it has 3, 9, 32"):
        evaluator.evaluate(Proposal(architecture), 5.0)


def test_the_ledger_charges_the_training_first() -> None:
    result = search("regularized-evolution").run()
    ledger = result.data["ledger"]
    assert ledger["queries"] == 6 and 0 < ledger["prepared"] < ledger["cost"] == result.data["budget"]["search"]
    assert result.model is not None and result.baseline["random"]["n"] == 1
    assert result.data["incumbents"][0][1] > ledger["prepared"]


def test_what_the_strategy_was_told_is_what_is_retrained() -> None:
    events = [e.data for e in _events(search("local-search"))]
    trials = [e for e in events if e["event"] == "trial"]
    best = max(trials, key=lambda t: t["values"][0])
    derived = next(e for e in events if e["event"] == "derived")
    assert derived["architecture"] == best["architecture"] and len(trials) == 6
    assert not any(key.startswith("test") for t in trials for key in t["metrics"])


def _events(built: Any) -> list[Record]:
    state: State = built.start()
    return [e for e in built.events(state) if isinstance(e, Record)]


def test_it_resumes_bit_for_bit() -> None:
    check_recipe("random", options={"queries": 3, "trials": SHARED, "baseline": 1}, stops=7)


@pytest.mark.parametrize("scheduler", ["asynchronous", "asha"])
@pytest.mark.parametrize("evaluator", ["shared:epochs=1,batch=16", "proxy:synflow:batch=8,draws=9"])
def test_simulated_workers_and_fidelities_resume_bit_for_bit(evaluator: str, scheduler: str) -> None:
    trials = Trials(evaluator=evaluator, scheduler=scheduler, workers=3)
    check_recipe("random", options={"queries": 8, "trials": trials, "baseline": 0}, stops=3)


def test_a_table_has_no_weights_to_share(tmp_path: Path) -> None:
    space = Space([Choice("a", ("x", "y"))])
    table = Table.from_arrays(space, {"valid_accuracy": [0.1, 0.2]})
    with pytest.raises(UsageError, match="shared weights need a task with data"):
        recipes.load("random")[1](task=table, trials=SHARED).session()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("share", "did you mean 'shared'"),
        ("shared:epoch=2", "did you mean 'epochs'"),
        ("shared:epochs=0", "at least 1"),
    ],
)
def test_wrong_words_have_a_sentence(words: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Trials(evaluator=words)
