"""Evidence: verdicts follow from the figures, records belong to their recipes, studies resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mimar.core.errors import RunError, UsageError
from mimar.evaluators import Retrain
from mimar.study import cells, evidence, fidelity, lookup
from mimar.study.cells import Cell
from mimar.study.claims import CLAIMS, BeatsRandom

ROOT = Path(__file__).parents[2]
RECORDS = sorted(p for p in (ROOT / "evidence").glob("*.json") if not p.name.startswith("compare-"))
ARCHITECTURE = dict.fromkeys(("0-1", "0-2", "1-2", "0-3", "1-3", "2-3"), "skip_connect")


def result(accuracy: float, *, moved: bool = True) -> dict[str, Any]:
    supernet = {"entropy_before": 1.0, "entropy_after": 0.5 if moved else 0.99, "moved": moved, "skips": 6}
    return {
        "metrics": {"test_accuracy": accuracy, "valid_accuracy": accuracy},
        "supernet": supernet,
        "architecture": ARCHITECTURE,
        "seconds": 1.0,
        "budget": {"search": 1.0, "retrain": 1.0, "baseline": 0.0},
    }


@pytest.mark.parametrize(
    ("gain", "moved", "verdict"),
    [
        (0.1, 8, "holds"),
        (-0.1, 8, "does not hold"),
        (0.0, 8, "not tested"),
        (0.1, 6, "holds"),
        (0.1, 5, "not tested"),
    ],
)
def test_the_verdict_follows_from_the_figures(gain: float, moved: int, verdict: str) -> None:
    spread = [0.001 * i for i in range(8)]
    ours = [result(0.8 + s + gain, moved=i < moved) for i, s in enumerate(spread)]
    randoms = [[result(0.8 + s), result(0.5)] for s in spread]
    found = evidence.beats_random(BeatsRandom("digits", {}), ours, randoms)
    assert found["verdict"] == verdict
    assert found["random"]["n"] == [2] * 8
    assert found["random"]["best"] == [0.8 + s for s in spread]
    assert json.loads(json.dumps(found)) == found


def test_the_table_knows_the_collapse(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    best = dict(zip(ARCHITECTURE, ["nor_conv_3x3"] * 3 + ["skip_connect", "nor_conv_3x3", "nor_conv_1x1"], strict=True))
    shuffled = dict(sorted(best.items(), reverse=True))  # JSON sorts keys: the order must not matter
    collapse, optimum, again = lookup.nasbench201([ARCHITECTURE, best, shuffled])["cifar10"]
    assert again == optimum
    assert collapse == pytest.approx(lookup.MARKS["all-skip collapse"], abs=0.01)
    assert optimum == pytest.approx(lookup.MARKS["best cell"], abs=0.01)
    untied = {f"cell{i}/{name}": option for i in range(3) for name, option in ARCHITECTURE.items()}
    with pytest.raises(UsageError, match="six edges .* got 18 choices"):
        lookup.nasbench201([untied])


def test_every_record_belongs_to_its_recipe() -> None:
    assert evidence.stale(ROOT / "evidence") == []
    assert {p.stem for p in RECORDS} == set(CLAIMS)


def test_a_changed_recipe_makes_its_record_stale(tmp_path: Path) -> None:
    for recipe, key, value in (("idarts", "hash", "0" * 16), ("darts-1st", "parts", {"Sgd": 0})):
        body = {"recipe": recipe, **evidence.identity(recipe)} | {key: value}
        (tmp_path / f"{recipe}.json").write_text(json.dumps(body))
    assert [text.split(":")[0] for text in evidence.stale(tmp_path)] == ["darts-1st.json", "idarts.json"]


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: p.stem)
def test_a_record_has_its_conditions(path: Path) -> None:
    record = json.loads(path.read_text())
    assert {"recipe", "hash", "parts", "versions", "claims"} <= set(record)
    assert len(record["claims"]) == len(CLAIMS[record["recipe"]])
    for entry in record["claims"]:
        assert entry["verdict"] in ("holds", "does not hold", "not tested")
        if "reached" in entry:
            assert entry["runs"] == len(entry["reached"]["by_run"]) >= 8
            continue
        assert entry["comparison"]["detectable"] >= 0  # 0 where a cost is the same under every seed
        assert len(entry["seeds"]) >= 8
        if "derived" in entry:
            assert len(entry["derived"]) == len(entry["seeds"]) >= 8
            assert all(n >= 3 for n in entry["random"]["n"])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="idarts"):
        evidence.record(["idart"])
    with pytest.raises(UsageError, match="no behavioural check"):
        evidence.record(["enas"])


def options(seed: int) -> dict[str, Any]:
    small = {"net": "nasbench201:cells=1,channels=2", "task": "digits:limit=200", "epochs": 1, "batch": 40}
    return {**small, "retrain": Retrain(epochs=1, batch=40), "baseline": 0, "seed": seed}


def test_cells_run_once_and_failures_are_named(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        cell, told = Cell("idarts", options(0)), []
        first = cells.run(cell, str(tmp_path))
        stamp = (tmp_path / cell.folder / "events.jsonl").stat().st_mtime_ns
        again = cells.run_all([cell], str(tmp_path), workers=1, tell=told.append)[cell]
    finally:
        torch.set_num_threads(threads)
    assert again == first
    assert (tmp_path / cell.folder / "events.jsonl").stat().st_mtime_ns == stamp
    assert told[0].startswith("1 of 1: idarts-digits-s0")
    assert [t["network"] for t in first["trained"]] == ["derived"]
    assert Cell("idarts", options(1)).folder != cell.folder
    with pytest.raises(RunError, match=r"idarts-nowhere-s0.*failed: unknown task"):
        cells.run_all([Cell("idarts", {**options(0), "task": "nowhere"})], str(tmp_path), tell=told.append)


def test_cosines_are_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "REFERENCES", {"one step": (1, fidelity.RATE)})
    monkeypatch.setattr(fidelity, "NET", "nasbench201:cells=1,channels=2")
    found = fidelity.cosines(0, epochs=1, batch=32)
    assert found["estimators"]["second order"]["one step"] == pytest.approx(1.0, abs=1e-5)  # it is that reference
    assert all(-1.0001 <= e["one step"] <= 1.0001 for e in found["estimators"].values())
    assert found["estimators"]["first order"]["share"] == 0
    assert found["estimators"]["neumann K=10, auto, gauss-newton"]["share"] > 0
