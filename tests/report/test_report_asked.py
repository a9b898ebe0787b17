"""The page of a black-box search: what it says, what it leaves out, and that any file has a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from asked_folders import SPACE, TREE, architecture, finished, head, result, trial, trials
from report_folders import events, header, make
from test_report_page import NB201, WRONG, read

from mimar import report, space
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.recipes import random as random_search
from mimar.recipes import regularized_evolution
from mimar.search import Trials

OF_GRADIENTS = ("No epoch of a search", "No gates", "gates at the end", "hypergradient", "None.", "retrained")


def headings(path: Path) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", path.read_text())


def test_every_fact_is_on_the_page(tmp_path: Path) -> None:
    path = report.write([finished(tmp_path / "r")])
    text = read(path).text
    facts = ["regularized-evolution on table:x, seed 3: ahead of random search here"]
    facts += ["The architecture found has 93.00 % test accuracy."]
    facts += ["at query 5 of 7, 50 s (simulated) after its beginning, and saw: valid accuracy 90.00 %"]
    facts += ["under the same budget made 8 queries", "91.00 %, 2.00 points less", "80.00 % ± 5.00 % (n = 8)"]
    facts += ["trials: 5", "failed: 1", "timed out: 1", "valid accuracy by query", "by clock, s (simulated)"]
    facts += ["The best of 4 different architectures measured", "body: skip, width: 32, rate: 0.25, inputs: b + c"]
    facts += ["query 5 body: skip, width: 32, rate: 0.25, inputs: b + c 90.00 % query 3 2"]
    facts += ["The best is 2 generations below", "the deepest of all is 2 below. 4 of 7 trials have none."]
    facts += ["query 3 75.00 % width: 16 → 32, rate: 0.5 → 0.25"]
    facts += ["query 5 90.00 % body: conv5 → skip, inputs: a + b → b + c", "Mean of the 5 trials"]
    facts += ["under way when the budget ended 1 3 s", "Wall time of everything: 12 min 34 s", "strategy Evolution"]
    assert [fact for fact in facts if fact not in text] == []
    assert [word for word in OF_GRADIENTS if word in text] == []
    assert not {"nan", "NaN", "None", "inf"} & set(text.split())
    names = ["The architecture", "The search", "The best trials", "How it came about", "What each option went with"]
    assert headings(path) == [*names, "What it cost", "Conditions", "How to make it again"]


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    first = report.write([run]).read_bytes()
    assert report.write([run]).read_bytes() == first and not (run / "cell.svg").exists()


def test_a_published_cell_is_drawn_and_written_in_its_notation(tmp_path: Path) -> None:
    cell = dict(space.Architecture.from_nasbench201("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|skip_connect~2|"))
    path = report.write([finished(tmp_path / "r", [trial(0, cell, 0.5)], NB201)])
    text = read(path).text
    assert text.count("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|skip_connect~2|") == 2
    assert 'class="cell"' in path.read_text() and (path.parent / "cell.svg").exists()


def test_without_parents_or_choice_there_is_no_section_of_them(tmp_path: Path) -> None:
    path = report.write([finished(tmp_path / "r", [trial(i, architecture(), 0.5) for i in range(3)])])
    assert headings(path) == ["The architecture", "The search", "The best trials", "What it cost", "Conditions", "How to make it again"]  # fmt: skip
    log = [trial(i, architecture(width=w), 0.5, ended=i + 1.0) for i, w in enumerate((8, 16))]
    text = read(report.write([finished(tmp_path / "counted", log, unit="queries")])).text
    assert (
        "by query" in text
        and "by clock" not in text
        and "cost" not in text.partition("What it cost")[2].split("Wall")[0]
    )


def test_two_objectives_have_a_front(tmp_path: Path) -> None:
    figures = [(0.5, 100.0), (0.6, 200.0), (0.55, 300.0), (0.7, 50_000.0), (0.4, 60_000.0)]
    log = [
        trial(
            i,
            architecture(width=8 * 2 ** (i % 3), rate=i / 8),
            a,
            metrics={"valid_accuracy": a, "params": p},
            values=[a, -p],
        )
        for i, (a, p) in enumerate(figures)
    ]
    tree = {**TREE, "trials": {"objective": ["valid_accuracy", "params"]}}
    run = make(tmp_path / "r", [*log, {"event": "finished", "result": result(log)}], head(tree=tree))
    path = report.write([run])
    text = read(path).text
    assert "The front of valid accuracy, params has 3 architectures" in text
    assert "trials: 5 the front: 3" in text and "volume that the front dominates" in text
    rows = re.findall(r"query (\d)</span>", path.read_text().partition('id="front"')[2].partition("</section>")[0])
    assert rows == ["4", "2", "1"] and "50 k" in text
    assert "The best trials" not in headings(path) and text.count("valid accuracy against params") == 1


def test_three_objectives_have_a_picture_of_each_beside_the_first(tmp_path: Path) -> None:
    log = [trial(i, architecture(rate=i / 8), 0.5, values=[i / 4, -float(i), (i % 2) * 1.0]) for i in range(4)]
    tree = {**TREE, "trials": {"objective": ["valid_accuracy", "params", "macs"]}}
    text = read(
        report.write([make(tmp_path / "r", [*log, {"event": "finished", "result": result(log)}], head(tree=tree))])
    ).text
    assert "valid accuracy against params" in text and "valid accuracy against macs" in text


def test_several_fidelities_have_rungs(tmp_path: Path) -> None:
    low = [trial(i, architecture(rate=i / 8), i / 10, fidelity=1.0, key=i) for i in range(6)]
    high = [trial(6 + i, architecture(rate=i / 8), 0.3 + i / 10, fidelity=3.0, since=1.0, cost=30.0) for i in (3, 4, 5)]
    path = report.write([finished(tmp_path / "r", [*low, *high])])
    text = read(path).text
    assert "fidelity 1 6 0 0 60 s 50.00 %" in text and "fidelity 3 3 3 0 90 s 80.00 %" in text
    assert "1 and 3 3 1.00" in text and "valid accuracy at fidelity 3 against 1" in text
    assert "measured at fidelity 3" in text and "Mean of the 6 trials at fidelity 1" in text
    assert "fidelity 3: 3 fidelity 1: 6" in text and "80.00 % at fidelity 3" in text


def test_every_beginning_of_a_search_has_a_page(tmp_path: Path) -> None:
    for n in range(8):
        text = read(report.write([make(tmp_path / str(n), trials()[:n], head(), seconds=None)])).text
        assert f"it is still searching, {n} queries and" in text and "not finished yet" in text
        assert ("The best so far" in text) == (n > 0)
        assert [word for word in OF_GRADIENTS if word in text] == []


@pytest.mark.parametrize(
    ("unit", "figures", "way", "verdict"),
    [
        ([["valid_mse", "min", "1"]], {"valid_mse": 0.2, "test_mse": 0.3}, "test mse", "behind random search here"),
        ([["valid_mse", "min", "1"]], {"valid_mse": 0.2}, "valid mse", "ahead of random search here"),
        ([["reward", "max", "1"]], {"reward": 0.25}, "reward", "level with random search"),
        ([["synflow", "max", "1"]], {"synflow": 9.0, "test_accuracy": 0.3}, "test accuracy", "ahead of random"),
    ],
    ids=lambda v: str(v)[:20],
)
def test_the_verdict_has_its_own_name_and_direction(
    tmp_path: Path, unit: Any, figures: Any, way: str, verdict: str
) -> None:
    random = {"random": {"n": 3, "best": 0.25, "mean": 0.5, "std": 0.1}}
    text = read(report.write([finished(tmp_path / "r", measures=unit, metrics=figures, baseline=random)])).text
    assert f" {way}." in text and verdict in text


def test_random_search_is_beside_nothing_but_itself(tmp_path: Path) -> None:
    tree = {
        "part": "mimar.search.asktell.AskTell",
        "strategy": {"part": "mimar.strategies.random.Random"},
        "baseline": None,
    }
    log = [trial(i, architecture(rate=i / 8), i / 8) for i in range(4)]
    text = read(
        report.write([make(tmp_path / "r", [*log, {"event": "finished", "result": result(log)}], head(tree=tree))])
    ).text
    assert "the best of 4 random architectures" in text and "This is random search itself" in text


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: str(w)[:12])
def test_fields_of_any_type_cost_no_page(tmp_path: Path, wrong: Any) -> None:
    log = trials()
    keys = sorted({k for e in log for k in e} - {"event"} | {"fidelity", "since", "curve"})
    changed = [{**event, key: wrong} for key in keys for event in log]
    whole = result(log)
    ends = [{"event": "finished", "result": {**whole, key: wrong}} for key in whole]
    hurt = head() | dict.fromkeys(("tree", "layout", "versions", "space", "recipe", "seed"), wrong)
    read(report.write([make(tmp_path / "log", [*changed, {"event": "finished", "result": whole}], head())]))
    read(report.write([make(tmp_path / "head", [*log, {"event": "finished", "result": whole}], hurt)]))
    for i, end in enumerate(ends):
        read(report.write([make(tmp_path / f"end{i}", [*log, end], head(tree={**TREE, "trials": wrong}))]))
    inside = {**whole, "measures": [wrong, [wrong, wrong, wrong]], "ledger": dict.fromkeys(whole["ledger"], wrong)}
    read(report.write([make(tmp_path / "in", [*changed[:9], {"event": "finished", "result": inside}], head())]))
    folders = [tmp_path / name for name in ("log", "head", "end0", "in")]
    read(report.write(folders, out=tmp_path / "c.html"))


def test_texts_of_a_run_stay_texts(tmp_path: Path) -> None:
    evil = "</title></svg><script>alert('x')</script>&amp;"
    log = [
        trial(i, {evil: f"{evil}{i % 2}", "b": "c"}, i / 5, metrics={evil: i / 5}, status=evil if i == 3 else "ok")
        for i in range(5)
    ]
    tree = {**TREE, "trials": {"objective": [evil], "evaluator": evil}}
    page = report.write(
        [make(tmp_path / "r", [*log, {"event": "finished", "result": result(log, unit=evil)}], head(tree=tree))]
    )
    assert "<script" not in page.read_text() and "alert('x')" in read(page).text


# --- several ------------------------------------------------------------------------------------------------------


def test_several_searches_are_compared_in_their_own_unit(tmp_path: Path) -> None:
    folders = [
        finished(tmp_path / "a"),
        finished(tmp_path / "b", metrics={"test_accuracy": 0.89, "params": 1.0, "macs": 2.0}),
    ]
    other = [trial(0, architecture(), 0.8)]
    ended = {"event": "finished", "result": result(other)}
    folders.append(make(tmp_path / "c", [*other, ended], head(recipe="local-search", tree={**TREE, "queries": 1})))
    folders.append(make(tmp_path / "d", trials()[:3], head(seed=5), seconds=None))
    path = report.write(folders)
    text = read(path).text
    facts = [
        "4 runs: regularized-evolution, local-search on table:x",
        "d: regularized-evolution on table:x, seed 5: it is still",
    ]
    facts += [
        "Fewer than 8 seeds for local-search, regularized-evolution",
        "What led",
        "valid accuracy of what led, by query",
    ]
    facts += [
        "regularized-evolution on table:x 2 of 3 91.00 % ± 2.83 % 0.00 % ± 2.83 % 1 of 2",
        "a 1.23 k 5.68 k 7 64 s – – 12 min 34 s",
    ]
    assert [fact for fact in facts if fact not in text] == []
    assert "entropy" not in text and "derived" not in text and "gates" not in text
    assert report.write(folders).read_text() == path.read_text()


def test_a_search_beside_one_with_gates(tmp_path: Path) -> None:
    gradient = make(tmp_path / "g", events(NB201), header(NB201))
    text = read(report.write([gradient, finished(tmp_path / "a")])).text
    assert "derived" in text and "1.000 → 0.600" in text and "93.00 %" in text and "64 s" in text


# --- real ones ----------------------------------------------------------------------------------------------------


def table(**more: Any) -> Table:
    figures = [(i * 7 % 48) / 48 for i in range(48)]
    of = space.Space([space.Choice(n, ("x", "y", "z", "w")) for n in "ab"] + [space.Choice("n", (8, 16, 32), "size")])
    known = {"params": [float(i % 5) for i in range(48)]}
    return Table.from_arrays(of, {"valid_mse": figures}, minimise=["valid_mse", "test_mse"], known=known, **more)


def test_a_real_search_on_a_table(tmp_path: Path) -> None:
    own = table(seconds=[1.0 + i % 3 for i in range(48)], final={"test_mse": [i / 48 for i in range(48)]})
    protocol = Trials(objective=("valid_mse", "params"), timeout=2.5, workers=2)
    found = regularized_evolution.recipe(task=own, queries=40, population=6, sample=2, trials=protocol).run(
        tmp_path / "r"
    )
    path = report.write([tmp_path / "r"])
    text = read(path).text
    assert f"has {found.metrics['test_mse']:.4g} test mse" in text and "2 workers measured at once" in text
    assert f"has {len(found.data['front'])} architectures" in text and "valid mse against params" in text
    assert f"timed out: {found.data['ledger']['failed']}" in text and "your own" not in headings(path)


@pytest.mark.slow
def test_a_real_search_that_trains(tmp_path: Path) -> None:
    given = {"net": "nasbench201:cells=1,channels=2", "task": "digits:limit=100", "retrain": Retrain(epochs=2)}
    evolved = regularized_evolution.recipe(queries=3, population=2, sample=2, baseline=1, **given).run(tmp_path / "e")
    path = report.write([tmp_path / "e"])
    text = read(path).text
    assert f"trained from scratch, has {100 * evolved.metrics['test_accuracy']:.2f} % test accuracy" in text
    assert "trained 1 networks of the same space" in text and "all 3 networks of the search" in text
    assert "1 random networks" in text and "Grey: 3 other networks" in text and "cost in MACs" in text
    chosen = random_search.recipe(queries=2, **given).run(tmp_path / "r")
    text = read(report.write([tmp_path / "r"])).text
    assert "the best of 2 random architectures" in text and f"{100 * chosen.metrics['test_accuracy']:.2f} %" in text
    assert SPACE.choices and "random networks" not in text.partition("Beside random networks")[2]
