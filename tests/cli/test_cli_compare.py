"""`mimar compare`: words into a study, sentences for wrong ones, what it prints, Ctrl-C and going on."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mimar.cli import comparing
from mimar.core.errors import UsageError
from mimar.evaluators import Retrain
from mimar.study import compare
from mimar.study.compare import Study

TASK = ("--task", "digits:limit=200", "--net", "nasbench201:cells=1,channels=2")


def study(*words: str, **flags: Any) -> Study:
    return comparing.study(words, **{"task": None, "net": None, "seeds": 8, "device": "cpu", **flags})


def test_words_become_a_study() -> None:
    found = study("idarts", "epochs=3", "DARTS_1st", "idarts:terms=5", "retrain.epochs=4", "random-ws:candidates=9")
    assert found.recipes == ("idarts", "darts-1st") and found.names == ("idarts", "darts-1st", "random-ws")
    assert found.seeds == tuple(range(8)) and (found.task, found.net) == ("digits", None)
    assert found.retrain == Retrain(epochs=4)
    expected = {"idarts": {"epochs": 3, "terms": 5}, "darts-1st": {"epochs": 3}}
    assert found.options == {**expected, "random-ws": {"epochs": 3, "candidates": 9}}


def test_an_option_of_its_own_goes_before_that_of_all() -> None:
    found = study("idarts", "darts-1st", "epochs=3", "idarts:epochs=5", seeds=2)
    assert (found.options["idarts"]["epochs"], found.options["darts-1st"]["epochs"], found.seeds) == (5, 3, (0, 1))


def test_random_weight_sharing_takes_what_it_has() -> None:
    assert study("idarts", "alpha_lr=0.1", "lr=0.2").options["random-ws"] == {"lr": 0.2}
    with pytest.raises(UsageError, match="random-ws: unknown option 'alpha_lr'"):
        study("idarts", "random-ws", "alpha_lr=0.1")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["epochs=2"], "a comparison needs at least one recipe"),
        (["idrts"], "unknown recipe 'idrts'; did you mean 'idarts'?"),
        (["idarts", "idarts"], "the recipe 'idarts' is given twice"),
        (["idarts", "darts-1st", "terms=3"], "darts-1st: unknown option 'terms'"),
        (["idarts", "darts-1st", "terms=3"], "an option of one recipe alone is given as RECIPE:key=value"),
        (["idarts", "epocs=2"], "idarts: unknown option 'epocs'; did you mean 'epochs'?"),
        (["idarts", "epochs=0"], "idarts: epochs is '0'; it must be a whole number at least 1"),
        (["idarts", "epochs=2", "epochs=3"], "the option 'epochs' is given twice"),
        (["idarts", "seeds=3"], "give --seeds 3 instead of seeds=3"),
        (["idarts", "darts-1st:epochs=2"], "a recipe that is not compared"),
        (["idarts", "nope:epochs=2"], "unknown recipe 'nope'"),
        (["idarts", "idarts:retrain.epochs=2"], "retrain is the same for all recipes"),
        (["idarts", "retrain.epoch=2"], "unknown option 'retrain.epoch'; did you mean 'retrain.epochs'?"),
        (["idarts", "--task", "nowhere"], "unknown task 'nowhere'"),
        (["idarts", "--net", "nope"], "unknown net 'nope'"),
        (["idarts", "batch=100000"], "batch is 100000, more than the 719 training samples"),
    ],
)
def test_wrong_words_have_a_sentence(mimar, words: list[str], sentence: str, tmp_path: Path) -> None:
    done = mimar("compare", *words, "--out", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("mimar: ") and done.stderr.count("\n") == 1 and sentence in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seeds", ["0", "-1", "many"])
def test_wrong_seeds(mimar, seeds: str) -> None:
    assert mimar("compare", "idarts", "--seeds", seeds).exit_code == 2


def test_what_is_printed(mimar, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def run(wanted: Study, folder: Path, **more: Any) -> dict[str, Any]:
        given.update(folder=folder, workers=more["workers"])
        more["tell"]("1 of 4: idarts")
        return compare.table(wanted, {})

    monkeypatch.setattr(compare, "run", run)
    done = mimar("compare", "idarts", *TASK, "--seeds", "2", "--workers", "3")
    assert (done.exit_code, done.stderr, given["workers"]) == (0, "1 of 4: idarts\n", 3)
    assert given["folder"].parent == Path("runs") and given["folder"].name.startswith("compare-digits-")
    head, *rows, last = done.stdout.splitlines()
    assert head.startswith("recipe") and [row.split()[0] for row in rows] == ["idarts", "random-ws", "random"]
    assert "not tested: fewer than 8 seeds" in rows[0]
    assert last == f"page: {given['folder'] / 'compare.html'}"
    (line,) = mimar("compare", "idarts", *TASK, "--out", "there", "--json").stdout.splitlines()
    assert json.loads(line)["out"] == "there" and json.loads(line)["study"]["seeds"] == list(range(8))


def test_failed_cells_end_with_a_sentence(mimar, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failed = [{"recipe": "idarts", "seed": s, "why": "the loss is not finite"} for s in (2, 5)]
    monkeypatch.setattr(compare, "run", lambda wanted, *_, **__: {**compare.table(wanted, {}), "failed": failed})
    done = mimar("compare", "idarts", *TASK, "--out", tmp_path)
    assert done.exit_code == 1 and "page: " in done.stdout
    text = "2 cells failed, the first is idarts, seed 2: the loss is not finite; the same command tries again"
    assert done.stderr == f"mimar: {text}\n"


@pytest.mark.slow
def test_stopped_and_gone_on(mimar, tmp_path: Path) -> None:
    options = [
        "darts-1st",
        "epochs=40",
        "batch=40",
        "random-ws:epochs=1",
        "random-ws:candidates=2",
        "retrain.epochs=20",
    ]
    words = [*options, *TASK, "--seeds", "1", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "mimar.cli", "compare", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not list(tmp_path.glob("cells/*/snapshots/*.safetensors")) and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (1, "") and len(stderr.splitlines()) == 1
    start = "mimar: saved; continue with: mimar "
    assert stderr.startswith(start)
    assert not list(tmp_path.glob("cells/*/.lock")) and not list(tmp_path.glob("cells/*/result.json"))

    again = mimar(*shlex.split(stderr.removeprefix(start)), "--json")
    assert again.exit_code == 0, again.stderr
    found = json.loads(again.stdout.splitlines()[-1])
    assert found["out"] == str(tmp_path) and found["failed"] == found["waiting"] == []
    assert found["recipes"][0]["seeds"] == [0] and found["recipes"][0]["verdict"] == "not tested"
    assert "3 of 3: random, seed 0" in again.stderr.splitlines()[-1]
