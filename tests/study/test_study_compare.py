"""A comparison of recipes: figures by hand, verdicts, one random search for all, cells that fail, a study that is killed."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimar.core.errors import RunError, UsageError
from mimar.evaluators import Retrain
from mimar.nets import named
from mimar.runs.lock import Lock
from mimar.study import architectures, compare, figures, lookup, page
from mimar.study.compare import Study
from mimar.study.crew import Outcome

EDGES = ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
FREE = {f"cell/{e}": frozenset(("none", "skip_connect", "avg_pool_3x3")) for e in EDGES}
SKIPS = {f"cell/{e}": "skip_connect" for e in EDGES}
BEST = dict(zip(SKIPS, ["nor_conv_3x3"] * 3 + ["skip_connect", "nor_conv_3x3", "nor_conv_1x1"], strict=True))
NET = "nasbench201:cells=1,channels=2"


def trained(test: float, valid: float, chosen: dict[str, str] = SKIPS) -> dict[str, Any]:
    return {"metrics": {"test_accuracy": test, "valid_accuracy": valid}, "architecture": chosen, "budget": 10.0}


def result(test: float, *, chosen: dict[str, str] = SKIPS, search: float = 20.0, moved: bool = True) -> dict[str, Any]:
    """Return a search's result; by default it costs as much as three random networks."""
    one = trained(test, test, chosen)
    supernet = {"valid_accuracy": 0.9, "derived_accuracy": 0.7, "moved": moved}
    budget = {"search": search, "retrain": 10.0}
    return {**one, "supernet": supernet, "budget": budget, "seconds": 5.0, "versions": {"torch": "2"}, "trained": [one]}


def search(*networks: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a random search."""
    return {"trained": list(networks), "seconds": 4.0 * len(networks), "versions": {"torch": "2"}, **networks[0]}


RANDOM = {
    0: search(trained(0.5, 0.1), trained(0.7, 0.2, BEST), trained(0.4, 0.0), trained(0.99, 0.9)),
    1: search(trained(0.6, 0.3), trained(0.8, 0.2), trained(0.5, 0.1), trained(0.99, 0.9)),
}


def test_figures_of_a_recipe_are_those_by_hand() -> None:
    ours = {0: result(0.8), 1: result(0.6, chosen=BEST)}
    found = figures.of_recipe(ours, RANDOM, FREE, None)
    assert found["seeds"] == [0, 1]
    expected = {"n": 2, "mean": 0.7, "std": pytest.approx(0.2 / 2**0.5), "min": 0.6, "max": 0.8, "by_seed": [0.8, 0.6]}
    assert found["accuracy"] == expected
    assert found["random"]["networks"] == [3, 3]  # (20 + 10) / 10: the fourth, the best, is not paid for
    assert found["random"]["by_seed"] == [0.7, 0.6]  # the holdout chooses, not the test set
    assert found["random"]["mean_network"] == pytest.approx([1.6 / 3, 1.9 / 3])
    assert found["distance"] == pytest.approx(5 / 6)
    assert found["free_operations"]["by_seed"] == [6, 1]
    assert found["gap"]["by_seed"] == pytest.approx([0.2, 0.2])
    assert found["cost"]["search"]["mean"] == 20 and found["cost"]["retrain"]["mean"] == 10
    assert found["cost"]["seconds"]["mean"] == 5 and found["cost"]["random_seconds"]["mean"] == 12
    assert (found["verdict"], found["why"], found["comparison"]) == ("not tested", "fewer than 8 seeds", None)


def test_a_dearer_recipe_is_compared_with_more_networks() -> None:
    found = figures.of_recipe({0: result(0.8, search=30.0)}, RANDOM, FREE, None)
    assert (found["random"]["networks"], found["random"]["by_seed"]) == ([4], [0.99])


def test_a_seed_without_its_random_search_is_not_compared() -> None:
    found = figures.of_recipe({0: result(0.8), 7: result(0.6)}, RANDOM, FREE, None)
    assert found["seeds"] == [0, 7] and found["random"]["seeds"] == [0]
    nothing = figures.of_recipe({}, RANDOM, FREE, "nasbench201")
    assert nothing["accuracy"]["mean"] is None and nothing["distance"] is None and nothing["table"] is None


def test_a_search_without_supernet_figures_has_no_gap() -> None:
    one = {**result(0.8), "supernet": {"derived_accuracy": 0.5}}
    assert figures.of_recipe({0: one}, {}, FREE, None)["gap"] == {**figures.spread([]), "by_seed": [None]}


@pytest.mark.parametrize(
    ("gain", "unmoved", "seeds", "verdict", "why"),
    [
        (0.1, 0, 8, "better", "p = 0.000155"),
        (-0.1, 2, 8, "worse", "p = 0.000155"),
        (0.0, 0, 8, "no difference shown", "p = 1"),
        (0.1, 3, 8, "not tested", "the gates did not move in 3 of 8 seeds"),
        (0.1, 0, 7, "not tested", "fewer than 8 seeds"),
    ],
)
def test_the_verdict_follows_from_the_figures(gain: float, unmoved: int, seeds: int, verdict: str, why: str) -> None:
    ours = {s: result(0.8 + 0.001 * s + gain, moved=s >= unmoved) for s in range(seeds)}
    beside = {s: search(trained(0.8 + 0.001 * s, 0.9), trained(0.2, 0.1), trained(0.2, 0.1)) for s in range(seeds)}
    found = figures.of_recipe(ours, beside, FREE, None)
    assert (found["verdict"], found["why"], found["unmoved"]) == (verdict, why, unmoved)
    assert (found["comparison"] is None) == (seeds < 8)
    assert seeds < 8 or found["comparison"]["detectable"] > 0


def test_equal_figures_throughout_show_no_difference() -> None:
    found = figures.judged(([0.5] * 8, [0.5] * 8), 0)
    assert (found["verdict"], found["comparison"]["p"], found["comparison"]["effect"]) == (
        "no difference shown",
        1.0,
        0.5,
    )


def test_the_curve_is_the_choice_so_far() -> None:
    found = figures.curve([RANDOM[0]["trained"], RANDOM[1]["trained"][:3]])  # as far as the shorter one goes
    assert [c["n"] for c in found] == [1, 2, 3]
    assert [c["cost"] for c in found] == [10.0, 20.0, 30.0]
    assert [c["mean"] for c in found] == pytest.approx([0.55, 0.65, 0.65])
    whole = figures.of_random(RANDOM, FREE, None)
    assert whole["accuracy"]["by_seed"] == [0.99, 0.99] and whole["networks"] == [4, 4]
    assert whole["every_network"]["n"] == 8 and whole["cost"]["search"]["mean"] == 40


def test_distance_counts_choices_that_one_has_and_the_other_not() -> None:
    assert architectures.distance([SKIPS]) is None
    assert architectures.distance([SKIPS, dict(SKIPS)]) == 0
    assert architectures.distance([{"a": "x", "b": "y"}, {"a": "x", "c": "y"}]) == pytest.approx(2 / 3)
    assert architectures.distance([SKIPS, SKIPS, BEST]) == pytest.approx((0 + 5 / 6 + 5 / 6) / 3)


def test_what_has_no_parameters_is_counted_not_named() -> None:
    free = architectures.free_options(named("darts:cells=3,channels=4", in_channels=1, classes=10, affine=False))
    pools = {"none", "max_pool_3x3", "avg_pool_3x3"}
    assert free["normal/0-2"] == pools | {"skip_connect"}
    assert free["reduce/0-2"] == pools  # a skip that halves the resolution has weights
    assert free["reduce/2-3"] == pools | {"skip_connect"}
    assert architectures.free_operations({"normal/0-2": "skip_connect", "reduce/0-2": "skip_connect"}, free) == 1


def test_the_table_knows_three_data_sets(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    found = lookup.nasbench201([SKIPS, dict(sorted(BEST.items(), reverse=True))])
    assert list(found) == ["cifar10", "cifar100", "ImageNet16-120"]
    assert [values[0] for values in found.values()] == pytest.approx([54.30, 15.61, 16.32], abs=0.01)
    assert found["cifar10"][1] == pytest.approx(94.37, abs=0.01)
    held = figures.of_recipe({0: result(0.5), 1: result(0.6, chosen=BEST)}, RANDOM, FREE, "nasbench201")["table"]
    assert held["cifar10"]["mean"] == pytest.approx((54.30 + 94.37) / 2, abs=0.01) and held["cifar10"]["n"] == 2


# --- the study ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"recipes": ()}, "at least one recipe"),
        ({"recipes": ("idrts",)}, "did you mean 'idarts'"),
        ({"recipes": ("idarts", "idarts")}, "given twice"),
        ({"seeds": ()}, "distinct whole numbers"),
        ({"seeds": (0, 0)}, "distinct whole numbers"),
        ({"seeds": (0, -1)}, "distinct whole numbers"),
        ({"seeds": (True,)}, "distinct whole numbers"),
        ({"options": {"idarts": {"epoch": 3}}}, "idarts: unknown option 'epoch'; did you mean 'epochs'"),
        ({"options": {"idarts": {"retrain": Retrain()}}}, "the same for all"),
        ({"options": {"darts-1st": {}}}, "not compared"),
    ],
)
def test_a_wrong_study_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Study(**{"recipes": ("idarts",), **change})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"task": "nowhere"}, "unknown task"),
        ({"net": "nope"}, "unknown net"),
        ({"options": {"idarts": {"batch": 100_000}}}, "more than the 100 training samples"),
        ({"options": {"idarts": {"epochs": 0}}}, "epochs is 0"),
    ],
)
def test_what_would_fail_in_every_cell_is_said_before(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        compare.run(Study(("idarts",), **{"task": "digits:limit=200", "net": NET, **change}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_random_searches_stand_beside_whatever_is_named() -> None:
    assert Study(("idarts",)).names == ("idarts", "random-ws")
    assert Study(("random", "random-ws", "idarts")).names == ("random-ws", "idarts")
    own = Study(("idarts",), retrain=Retrain(epochs=3))
    assert {c.options["retrain"] for c in (own.cell("idarts", 0), own.cell("random-ws", 0), own.random(0, 3))} == {
        Retrain(epochs=3)
    }
    assert own.cell("idarts", 1).options["baseline"] == 0
    assert (
        own.home == dataclasses.replace(own, seeds=(0, 1)).home != Study(("idarts",)).home
    )  # more seeds: the same folder


def test_one_random_search_a_seed_as_large_as_the_dearest_asks() -> None:
    study = Study(("idarts",), seeds=(0, 1, 2))
    outcomes = {
        study.cell("idarts", 0): Outcome(result(0.5, search=70.0)),
        study.cell("random-ws", 0): Outcome(result(0.5, search=20.0)),
        study.cell("idarts", 1): Outcome(None, "it fell"),
        study.cell("random-ws", 1): Outcome(result(0.5, search=40.0)),
    }
    assert compare.randoms(study, outcomes) == [study.random(0, 8), study.random(1, 5)]


def invented(seeds: int = 8, *, fail: bool = False) -> dict[str, Any]:
    """Return the figures of a study whose results are made up."""
    study = Study(("idarts", "darts-1st", "sdarts-rs"), "digits:limit=200", NET, tuple(range(seeds)))
    outcomes: dict[Any, Outcome] = {}
    for k, name in enumerate(study.names):
        for s in study.seeds:
            own = result(0.8 + 0.002 * s + 0.02 * (1 - k), search=30 + 45.0 * k, chosen=(SKIPS, BEST)[(s + k) % 2])
            outcomes[study.cell(name, s)] = Outcome(own)
    if fail:
        outcomes[study.cell("idarts", 0)] = Outcome(None, "the loss is <not> finite")
    for cell in compare.randoms(study, outcomes):
        s, n = cell.options["seed"], cell.options["queries"]
        nets = [trained(0.75 + 0.06 * (i / n) ** 0.3 + 0.003 * s, 0.5 + 0.001 * i, BEST) for i in range(n)]
        outcomes[cell] = Outcome(search(*nets))
    return compare.table(study, outcomes)


def test_the_page_says_all_and_loads_nothing() -> None:
    found = invented()
    text = page.html(json.loads(json.dumps(found, allow_nan=False)))
    assert [r["verdict"] for r in found["recipes"]] == ["better", "no difference shown", "worse", "worse"]
    assert len(found["recipes"]) == 4 and "4 tests at level 0.05" in text
    assert "Beside random search at the same cost: better: idarts; worse: sdarts-rs, random-ws; no" in text
    assert text.count("<svg") == 2 and "detectable" in text and "data-" not in text
    assert "fewer than 8 seeds" not in text and "None: every cell has one." in text
    assert not re.search(r"<script|<link|src=|https?://(?!www\.w3\.org/2000/svg)", text)


def test_few_seeds_and_failed_cells_are_said() -> None:
    found = invented(3, fail=True)
    assert found["failed"] == [{"recipe": "idarts", "seed": 0, "why": "the loss is <not> finite"}]
    assert found["recipes"][0]["seeds"] == [1, 2] and {r["verdict"] for r in found["recipes"]} == {"not tested"}
    text = page.html(found)
    assert "tests at level" not in text  # none was made
    assert "Not tested: fewer than 8 seeds (3)" in text and "1 cell failed and is missing" in text
    assert "failed: the loss is &lt;not&gt; finite" in text


def test_a_study_without_any_result_has_a_page() -> None:
    found = compare.table(Study(("idarts",), "digits:limit=200", NET), {})
    assert len(found["waiting"]) == 24 and found["versions"] == {}
    assert "cells still to come: 24" in page.html(found)
    assert compare.markdown(found).count("\n") == 4


def test_markdown_has_a_row_a_recipe_and_random_last() -> None:
    lines = compare.markdown(invented()).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "idarts",
        "darts-1st",
        "sdarts-rs",
        "random-ws",
        "random",
    ]
    assert "better" in lines[2] and "+" in lines[2]


# --- cells ----------------------------------------------------------------------------------------------------------

OWN = {"epochs": 1, "batch": 40}
TINY = Study(
    ("darts-1st",),
    "digits:limit=200",
    NET,
    (0,),
    Retrain(epochs=3, batch=40),
    {"darts-1st": OWN, "random-ws": {**OWN, "candidates": 2}},
)
PROGRAM = """
import sys
if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    from test_study_compare import TINY, compare
    compare.run(TINY, sys.argv[2])
"""


def timeless(found: Any) -> Any:
    """Return figures without wall times."""
    if isinstance(found, dict):
        return {k: timeless(v) for k, v in found.items() if "seconds" not in k}
    return [timeless(v) for v in found] if isinstance(found, list) else found


@pytest.mark.slow
def test_a_killed_study_goes_on_and_a_failed_cell_costs_itself_alone(tmp_path: Path) -> None:
    program, folder = tmp_path / "program.py", tmp_path / "killed"
    program.write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, program, Path(__file__).parent, folder], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not list(folder.glob("cells/darts-1st-*/snapshots/*.safetensors")) and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    first = folder / "cells" / TINY.cell("darts-1st", 0).folder
    while (first / ".lock").exists() and time.monotonic() < end:  # the orphan ends by itself
        try:
            Lock(first).release()
        except RunError:
            time.sleep(0.01)

    told: list[str] = []
    found = compare.run(TINY, folder, tell=told.append)
    assert [text.split(":")[1].strip() for text in told] == ["darts-1st, seed 0", "random-ws, seed 0", "random, seed 0"]
    assert found["failed"] == found["waiting"] == []
    assert json.loads((folder / "compare.json").read_text()) == found
    assert (folder / "compare.html").read_text() == page.html(found)
    assert found["versions"]["threads"] == "1"

    told.clear()  # all is there: nothing is computed
    assert compare.run(TINY, folder, tell=told.append) == found
    assert all("was there" in text for text in told)

    # elsewhere, without a kill, and with a cell that cannot begin: the others have the same figures
    other = tmp_path / "other"
    bad = other / "cells" / TINY.cell("random-ws", 0).folder
    bad.mkdir(parents=True)
    (bad / "stray").write_text("")
    second = compare.run(TINY, other, workers=2, tell=told.append)
    assert [(c["recipe"], c["seed"]) for c in second["failed"]] == [("random-ws", 0)]
    assert second["failed"][0]["why"].startswith(f"{bad.name} ")
    assert str(tmp_path) not in (other / "compare.json").read_text() + (other / "compare.html").read_text()
    ours, again = (timeless(f["recipes"][0]) for f in (found, second))
    assert again["accuracy"] == ours["accuracy"] and again["architectures"] == ours["architectures"]
    assert again["random"] == ours["random"]

    with pytest.raises(RunError, match="is being written by process"):
        held = Lock(other)
        try:
            compare.run(TINY, other, tell=told.append)
        finally:
            held.release()
