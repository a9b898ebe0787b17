"""Searches on scores of untrained networks: by name, on data and on a table, the winner trained afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimar import recipes
from mimar.core.describe import describe, rebuild
from mimar.core.errors import UsageError
from mimar.evaluators import Retrain
from mimar.evaluators.proxies.gradients import GradientNorm
from mimar.evaluators.proxies.similarity import TeacherSimilarity
from mimar.evaluators.table import Table
from mimar.search import Trials
from mimar.search.ground import TableLab
from mimar.search.lab import Lab
from mimar.search.naming import estimate
from mimar.search.scored import Scored
from mimar.search.untrained import Untrained, subject
from mimar.space import Choice, Proposal, Space
from mimar.study import proxies as study
from mimar.supernet import extract
from mimar.testing import check_recipe
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import tiny_task

SNIP = Trials(evaluator="proxy:snip:batch=8")


def search(name: str, **more: Any) -> Any:
    given: dict[str, Any] = {
        "task": tiny_task(),
        "net": tiny_model().float(),
        "queries": 6,
        "baseline": 1,
        "trials": SNIP,
    }
    return recipes.load(name)[1](**given | {"retrain": Retrain(epochs=1, batch=16)} | more)


# -- names ------------------------------------------------------------------------------------------------------------


def test_words_say_what_is_scored() -> None:
    found = estimate("proxy:snip+grad_norm:batch=32,images=noise,draws=2")
    assert found == Untrained("snip+grad_norm", 32, "noise", 2) and list(found.parts()) == ["snip", "grad_norm"]  # type: ignore[union-attr]
    assert estimate("") is None and estimate(found) is found
    assert Untrained(GradientNorm()).parts() == {"grad_norm": GradientNorm()}
    assert rebuild(describe(Trials(evaluator=found))) == Trials(evaluator=found)


@pytest.mark.parametrize(
    "text, said",
    [
        ("proxi:snip", "did you mean 'proxy'"),
        ("proxy:snop", "did you mean 'snip'"),
        ("proxy:", "unknown proxy"),
        ("proxy:snip:batsh=4", "did you mean 'batch'"),
        ("proxy:snip:batch=1", "at least 2"),
        (3, "an evaluator is a part"),
    ],
)
def test_unknown_words_are_named(text: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Trials(evaluator=text)


def test_a_recipe_fills_in_its_evaluator_and_leaves_the_rest() -> None:
    assert Trials(workers=3).by("proxy:snip") == Trials(workers=3, evaluator="proxy:snip")
    assert SNIP.by("proxy:ntk") == SNIP


# -- on data ----------------------------------------------------------------------------------------------------------


def test_the_best_score_is_trained_and_random_networks_beside_it() -> None:
    result = search("local-search").run()
    ledger = result.data["ledger"]
    assert ledger["queries"] == 6 and result.data["budget"]["search"] == ledger["cost"] > 0
    assert result.data["unit"] == "MACs" and result.data["measures"][0] == ["snip", "max", ""]
    assert result.model is not None and result.baseline["random"]["n"] == 1 and "test_accuracy" in result.metrics
    lab = Lab(tiny_model().float(), tiny_task(), 0, "cpu")
    evaluator = Untrained("snip", 8).on(lab, 0, "cpu")
    score = evaluator.evaluate(Proposal(result.architecture)).metrics["snip"]
    assert score == result.data["incumbents"][-1][2][0]


def test_without_a_budget_a_hundred_networks_are_scored() -> None:
    found = search("random", queries=None).run()
    assert found.data["ledger"]["queries"] == 100
    with pytest.raises(UsageError, match="seconds"):
        search("random", queries=None, seconds=5.0).start()


def test_what_is_better_small_is_made_small() -> None:
    ntk = search("random", queries=12, trials=Trials(evaluator="proxy:ntk:batch=4")).run()
    values = [v[2][0] for v in ntk.data["incumbents"]]
    assert values == sorted(values) and values[-1] < 0  # larger is better, so a condition number counts negative


def test_several_scores_make_a_front() -> None:
    both = Trials(evaluator="proxy:snip+params:batch=4", objective=("snip", "params"))
    front = search("regularized-evolution", population=2, sample=1, trials=both).run().data["front"]
    assert front and all(len(member["values"]) == 2 for member in front)


def test_limits_are_on_the_networks_that_would_be_trained() -> None:
    lab = Lab(tiny_model().float(), tiny_task(), 0, "cpu")
    cheap = min(Untrained("snip").on(lab, 0, "cpu").costs(a)["params"] for a in lab.space.enumerate())
    limited = Trials(evaluator="proxy:snip:batch=4", limits=(f"params<={cheap:.0f}",))
    assert search("random", trials=limited).run().metrics["params"] == cheap


def test_the_net_that_is_searched_is_scored_not_a_larger_one_to_train() -> None:
    words = {"task": tiny_task(), "seed": 0, "device": "cpu"}
    lab = Lab("nasbench201:cells=1,channels=4", larger="nasbench201:cells=2,channels=8", **words)  # type: ignore[arg-type]
    model, _ = subject(lab, 0, "cpu", 4)
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in lab.final.parameters()) / 4
    found = Untrained("params", 4).on(lab, 0, "cpu")
    arch = lab.space.sample(0)
    assert found.costs(arch)["macs"] == lab.network_macs(arch)


@pytest.mark.parametrize("images", ["task", "noise"])
def test_batches_are_those_of_the_task_or_noise(images: Any) -> None:
    lab = Lab(tiny_model().float(), tiny_task(), 0, "cpu")
    _, batch = subject(lab, 0, "cpu", 8, images)
    assert batch.x.shape == (8, 1, 5, 5)
    known = lab.data.data.x  # type: ignore[attr-defined]
    mean, std = lab.data.data.mean, lab.data.data.std  # type: ignore[attr-defined]
    there = any(torch.allclose(batch.x[0], (x - mean) / std) for x in known)
    assert there == (images == "task")


@pytest.mark.parametrize("name", ["random", "regularized-evolution"])
def test_a_search_on_scores_stops_and_goes_on(name: str) -> None:
    more = {} if name == "random" else {"population": 2, "sample": 1}
    check_recipe(name, options={"trials": SNIP, "queries": 3, **more}, stops=4)


def test_a_student_is_most_like_a_teacher_of_its_own_kind() -> None:
    lab = Lab(tiny_model().float(), tiny_task(), 0, "cpu")
    teacher = lab.space.sample(5)
    part = TeacherSimilarity(extract(lab.final, teacher))
    evaluator = Untrained(part, 8).on(lab, 0, "cpu")
    scores = {a: evaluator.evaluate(Proposal(a)).metrics["diswot"] for a in lab.space.enumerate()}
    assert scores[teacher] == 0.0 == max(scores.values())


# -- on a table -------------------------------------------------------------------------------------------------------


def test_on_a_table_of_figures_alone_there_is_nothing_to_score() -> None:
    table = Table.from_arrays(Space([Choice("a", ("x", "y"))]), {"valid_accuracy": [0.1, 0.2]})
    with pytest.raises(UsageError, match="figures alone"):
        Untrained().on(TableLab(table, "mine"), 0, "cpu")


def test_on_the_benchmark_the_verdict_is_the_tables(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    trials = Trials(evaluator="proxy:params:batch=2", limits=("params<=500000",))
    result = recipes.load("random")[1](task="nasbench201", queries=3, trials=trials).run()
    assert result.data["ledger"]["queries"] == 3 and result.model is None
    assert result.metrics["params"] <= 500000 and 0.5 < result.metrics["test_accuracy"] < 0.95
    assert result.metrics["valid_accuracy"] > 0.1 and result.baseline["random"]["n"] == 3


# -- scores for strategies --------------------------------------------------------------------------------------------


def test_scores_of_strategies_are_those_of_the_networks() -> None:
    lab = Lab(tiny_model().float(), tiny_task(), 0, "cpu")
    archs = list(lab.space.enumerate())[:3]
    found = Scored("snip+ntk", batch=4).on(lab, 0, "cpu")
    evaluator = Untrained("snip+ntk", 4).on(lab, 0, "cpu")
    rows = [evaluator.evaluate(Proposal(a)).metrics for a in archs]
    assert found.costly and found(archs).tolist() == [[r["snip"], -r["ntk"]] for r in rows]
    assert found([]).shape == (0, 2)


def test_scores_out_of_a_table_are_looked_up(tmp_path: Path) -> None:
    lab = Lab("nasbench201:cells=1,channels=4", tiny_task(), 0, "cpu")
    archs = [lab.space.canonical(lab.space.sample(i)) for i in range(4)]
    archs = list(dict.fromkeys(archs))
    net = "nasbench201:cells=1,channels=2"
    table = study.scores(("synflow", "ntk"), architectures=archs, net=net, shape=(3, 8, 8), batch=4)
    table.save(tmp_path / "scores.npz")
    found = Scored(f"table:{tmp_path}/scores.npz").on(lab, 0, "cpu")
    rows = found(archs)
    assert not found.costly and rows.shape == (len(archs), 2) and np.isfinite(rows).all() and (rows[:, 1] < 0).all()
    assert np.isnan(found([a for a in lab.space.enumerate() if lab.space.canonical(a) not in archs][:1])).all()
    with pytest.raises(UsageError, match="another space"):
        Scored(f"table:{tmp_path}/scores.npz").on(Lab(tiny_model().float(), tiny_task(), 0, "cpu"), 0, "cpu")
    with pytest.raises(UsageError, match="unknown proxy"):
        Scored("snop")
