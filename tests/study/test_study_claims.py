"""Claims between two recipes, on learned data, and against random networks of a recipe's own kind."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, Self

import pytest

from mimar import recipes
from mimar.evaluators import Retrain
from mimar.study import cells, claims, evidence, family, teaching
from mimar.study.cells import Cell
from mimar.study.claims import CLAIMS, COST, GAP, TEST, BeatsRandom, Beside, Teaches


def result(test: float = 0.5, valid: float = 0.6, derived: float = 0.4, cost: float = 1.0) -> dict[str, Any]:
    supernet = {"valid_accuracy": valid, "derived_accuracy": derived, "skips": 2}
    return {
        "metrics": {"test_accuracy": test, "macs": 9},
        "supernet": supernet,
        "budget": {"search": cost, "retrain": 1.0},
    }


SPREAD = [0.001 * i for i in range(8)]


@pytest.mark.parametrize(
    ("figure", "ours", "verdict"),
    [
        (TEST, [result(test=0.7 + s) for s in SPREAD], "holds"),
        (TEST, [result(test=0.3 + s) for s in SPREAD], "does not hold"),
        (TEST, [result(test=0.5 + s) for s in SPREAD], "not tested"),
        (GAP, [result(derived=0.55 - s) for s in SPREAD], "holds"),  # a smaller gap is better
        (GAP, [result(derived=0.2 - s) for s in SPREAD], "does not hold"),
    ],
)
def test_the_verdict_follows_from_both_sides(figure: Any, ours: list[dict[str, Any]], verdict: str) -> None:
    theirs = [result(test=0.5 + s, derived=0.4 - s) for s in SPREAD]
    found = evidence.beside(Beside("darts-1st", figure), ours, theirs)
    assert found["verdict"] == verdict
    assert found["ours"] == [figure.of(r) for r in ours]
    assert json.loads(json.dumps(found)) == found


def test_a_factor_multiplies_the_other_side() -> None:
    ours, theirs = [result(cost=0.7 + s) for s in SPREAD], [result(cost=1.0 + s) for s in SPREAD]
    verdicts = [evidence.beside(Beside("x", COST, factor=f), ours, theirs)["verdict"] for f in (1.0, 0.6)]
    assert verdicts == ["holds", "does not hold"]


def test_every_claim_names_recipes_and_options_that_exist() -> None:
    for name, held in CLAIMS.items():
        for claim in held:
            for cell in evidence._searches(name, claim):
                assert set(cell.options) <= set(inspect.signature(recipes.load(cell.recipe)[1]).parameters)
            assert (claim.runs if isinstance(claim, claims.Reached) else len(claim.seeds)) >= 8 and claim.text


def test_cells_of_the_study_are_those_of_the_claims() -> None:
    """What the comparison has run is not run again for the evidence."""
    study = family.study("nasbench201")
    for name in ("rarts", "dass", "d-darts", "gtn", "random-ws"):
        (first, *_) = evidence._searches(name, claims.RANDOM)
        assert study.cell(name, 0).folder == first.folder
    s2 = family.study("s2").cell("darts-1st", 3)
    assert s2.folder in {c.folder for c in evidence._searches("darts-pt", CLAIMS["darts-pt"][0])}


def test_recipes_with_networks_of_another_kind_train_random_ones_themselves() -> None:
    kinds = {name for name in recipes.names() if cells.lasting(name)}
    assert kinds == {"dass", "bnas", "d-darts", "dartopti"}
    assert claims.options("dass", claims.RANDOM)["baseline"] is None
    assert claims.options("rarts", claims.RANDOM)["baseline"] == 0
    trained = [{"network": n} for n in ("derived", "random-0", "random-1")]
    assert [t["network"] for t in cells.own_random({"trained": trained})] == ["random-0", "random-1"]


def test_a_larger_random_search_serves_a_smaller_claim(tmp_path: Path) -> None:
    same = {"task": "digits:limit=200", "net": "nasbench201:cells=1,channels=2", "retrain": Retrain(epochs=1, batch=40)}
    large, small, huge = (Cell("random", {**same, "seed": 0, "queries": n}) for n in (3, 2, 4))
    cells.run(large, str(tmp_path))
    found = evidence._there([small, huge], tmp_path)
    assert set(found) == {small} and len(found[small]["trained"]) == 3
    other = Cell("random", {**small.options, "retrain": Retrain(epochs=2, batch=40)})
    assert evidence._there([other], tmp_path) == {}


def test_the_claim_on_learned_data_is_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(seed: int) -> dict[str, Any]:
        return {"seed": seed, "synthetic": 0.9 + 0.001 * seed, "real": 0.8 + 0.001 * seed, "spearman": 0.5}

    class Here:
        def __init__(self, *_: Any, **__: Any) -> None: ...
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...
        def map(self, run: Any, seeds: Any) -> list[Any]:
            return [run(s) for s in seeds]

    monkeypatch.setattr(teaching, "measure", measure)
    monkeypatch.setattr(evidence, "ProcessPoolExecutor", Here)
    found = evidence.teaches(Teaches(), 1, lambda _: None)
    assert found["verdict"] == "holds" and found["spearman"] == [0.5] * 8
    assert found["ours"][1] == pytest.approx(0.901) and found["other"] == "real data"


def test_a_search_without_gates_counts_as_moved() -> None:
    """Learned data have no gates: nothing is said of them, and the verdict rests on the figures alone."""
    ours = [{**result(test=0.9 + s), "seconds": 1.0, "architecture": {}} for s in SPREAD]
    randoms = [[{"metrics": {"test_accuracy": 0.5 + s, "valid_accuracy": 0.5}, "architecture": {}}] for s in SPREAD]
    monkey = pytest.MonkeyPatch()
    monkey.setattr(evidence, "_table", lambda *_: {})
    try:
        found = evidence.beats_random(BeatsRandom("digits", {}), ours, randoms)
    finally:
        monkey.undo()
    assert found["verdict"] == "holds" and found["entropy"] == []
