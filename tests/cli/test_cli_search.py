"""One tiny search and all that is done with its run; a second one that is stopped, killed, and resumed to the same end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from mimar import report, runs
from mimar.cli import exporting, seeds, work
from mimar.core.errors import MimarError
from mimar.tasks import named

TINY = ("idarts", "epochs=2", "retrain.epochs=1", "--baseline", "1", "--task", "digits:limit=200", "--json")
KEYS = {"recipe", "task", "seed", "architecture", "metrics", "baseline", "seconds", "evaluations", "run"}

Run = tuple[Path, Result]


@pytest.fixture(scope="module")
def finished(mimar, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Return the folder and the outcome of a tiny search; nobody may change it."""
    folder = tmp_path_factory.mktemp("cli") / "a run"
    done = mimar("search", *TINY, "--out", folder)
    assert done.exit_code == 0, done.output
    return folder, done


def last(stdout: str) -> dict:
    return json.loads(stdout.splitlines()[-1])


def timeless(stdout: str) -> str:
    return json.dumps({k: v for k, v in last(stdout).items() if k not in ("seconds", "run")}, sort_keys=True)


def test_last_line_is_the_result(finished: Run) -> None:
    folder, done = finished
    found = last(done.stdout)
    assert KEYS <= set(found)
    assert len(done.stdout.splitlines()) == 1
    assert found["run"] == str(folder) and found["baseline"]["random"]["n"] == 1
    assert (folder / "result.json").read_text() == done.stdout
    assert "<html" in (folder / "report.html").read_text()
    assert "search: epoch 1 of 2, loss" in done.stderr
    assert done.stderr.count("warning: the entropy of the gates") <= 1


def test_result_for_a_person(mimar, finished: Run) -> None:
    folder, done = finished
    again = mimar("resume", folder)  # a finished run: nothing is computed, the result is told again
    rows = {line[:15].strip(): line[15:] for line in again.stdout.splitlines()}
    assert rows["architecture"].startswith("|") and rows["architecture"].count("~") == 6
    assert rows["test accuracy"].endswith(" %")
    assert rows["random"].startswith("best ") and rows["random"].endswith("(n = 1)")
    assert (rows["run"], rows["report"]) == (str(folder), str(folder / "report.html"))
    assert timeless(mimar("resume", folder, "--json").stdout) == timeless(done.stdout)


def test_run_folder_is_never_overwritten(mimar, finished: Run) -> None:
    folder, _ = finished
    done = mimar("search", *TINY, "--out", folder)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "already holds a run: resume it, or give another folder" in done.stderr


def test_folder_that_cannot_be_written_has_a_sentence(mimar, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = mimar("search", *TINY, "--out", tmp_path / "file" / "run")
    assert done.exit_code == 1 and done.stderr.startswith("mimar: ") and done.stderr.count("\n") == 1


def when_saved(folder: Path, act: Callable[[], object], ended: Callable[[], bool] = lambda: False) -> None:
    """Call `act` as soon as the run in `folder` has one more snapshot than now, or has ended."""
    before = set(folder.glob("snapshots/*.safetensors"))
    end = time.monotonic() + 60
    while set(folder.glob("snapshots/*.safetensors")) <= before and not ended() and time.monotonic() < end:
        time.sleep(0.005)
    act()


def test_stopped_killed_and_resumed_gives_the_identical_line(mimar, finished: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    press = threading.Thread(target=when_saved, args=(folder, lambda: os.kill(os.getpid(), signal.SIGINT)))
    press.start()
    stopped = mimar("search", *TINY, "--out", folder)
    press.join()
    assert (stopped.exit_code, stopped.stdout) == (1, "")
    assert stopped.stderr.splitlines()[-1] == f"mimar: saved; continue with: mimar resume {folder}"

    command = [sys.executable, "-m", "mimar.cli", "resume", str(folder), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    when_saved(folder, process.kill, lambda: process.poll() is not None)
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "result.json").exists()

    done = mimar("resume", folder, "--json")
    assert done.exit_code == 0, done.stderr
    assert timeless(done.stdout) == timeless(finished[1].stdout)


def test_retrain_is_a_run_of_its_own(mimar, finished: Run, tmp_path: Path) -> None:
    folder, done = finished
    again = mimar("retrain", folder, "optimiser.lr=0.1", "--epochs", "2", "--out", tmp_path / "longer", "--json")
    assert again.exit_code == 0, again.stderr
    found = last(again.stdout)
    assert found["architecture"] == last(done.stdout)["architecture"]
    assert found["recipe"] == "idarts-retrain" and found["baseline"]["random"]["n"] == 0
    with runs.open_run(tmp_path / "longer") as store:
        assert store.header["tree"]["retrain"]["epochs"] == 2
        assert store.header["tree"]["retrain"]["optimiser"]["lr"] == 0.1
    wrong = mimar("retrain", folder, "epoch=3")
    assert wrong.exit_code == 2 and "unknown option 'epoch'; did you mean 'epochs'?" in wrong.stderr


def test_report_of_several_runs(mimar, finished: Run, tmp_path: Path) -> None:
    done = mimar("report", finished[0], finished[0], "--out", tmp_path / "page.html")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'page.html'}\n")
    assert (tmp_path / "page.html").exists()


def test_exported_program_gives_the_same_logits(mimar, finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    done = mimar("export", finished[0], "--format", "torch", "--out", path)
    assert (done.exit_code, done.stdout) == (0, f"{path}\n"), done.stderr
    model, _ = exporting.trained(finished[0])
    program = torch.export.load(path).module()
    for size in (1, 2, 5):
        x = torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(size))
        assert torch.allclose(program(x), model(x), atol=1e-5)
    result = json.loads((finished[0] / "result.json").read_text())
    data = named(result["task"]).split(result["seed"])
    raw, labels = data.data.x[data.index["test"]].float(), data.data.y[data.index["test"]]  # as a user has them
    right = float((program(raw).argmax(1) == labels).double().mean())
    assert right == pytest.approx(result["metrics"]["test_accuracy"], abs=0.01)
    bad = mimar("export", finished[0], "--format", "torch", "--out", tmp_path / "no" / "model.pt2")
    assert bad.exit_code == 1 and f"cannot write {tmp_path / 'no' / 'model.pt2'}" in bad.stderr


def test_onnx_without_its_packages_says_what_to_install(mimar, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    done = mimar("export", finished[0], "--format", "onnx")
    assert done.exit_code == 1 and "pip install 'mimar[export]'" in done.stderr


def test_failing_report_loses_nothing(mimar, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no\nink")

    monkeypatch.setattr(report, "write", fail)
    done = mimar("resume", finished[0], "--json")
    assert done.exit_code == 0 and KEYS <= set(last(done.stdout))
    assert f"the report could not be written (no ink); try: mimar report {finished[0]}" in done.stderr


def test_run_of_a_users_module_continues_from_python_only(mimar, finished: Run, tmp_path: Path) -> None:
    with runs.open_run(finished[0]) as store:
        header = {k: v for k, v in store.header.items() if k != "format"}
    header["tree"] = {**header["tree"], "net": {"digest": "0" * 16, "kind": "Sequential"}}
    runs.create(tmp_path / "own", header).close()
    done = mimar("resume", tmp_path / "own")
    assert done.exit_code == 1
    assert "your own Sequential" in done.stderr and ".run(folder, resume=True)" in done.stderr


def test_unfinished_run_cannot_be_exported_or_retrained(mimar, finished: Run, tmp_path: Path) -> None:
    with runs.open_run(finished[0]) as store:
        header = {k: v for k, v in store.header.items() if k != "format"}
    runs.create(tmp_path / "begun", header).close()
    for words in (("export", tmp_path / "begun", "--format", "torch"), ("retrain", tmp_path / "begun")):
        done = mimar(*words)
        assert done.exit_code == 1 and f"mimar resume {tmp_path / 'begun'}" in done.stderr


def test_default_folder_is_the_first_that_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert work.free_folder("idarts", None, 3) == Path("runs/idarts-digits-s3-1")
    Path("runs/idarts-digits-s3-1").mkdir(parents=True)
    assert work.free_folder("idarts", "digits:limit=3", 3) == Path("runs/idarts-digits-s3-2")
    assert work.free_folder("robust_darts:es", "folder:a/b", 0) == Path("runs/robust-darts-es-folder-s0-1")
    assert work.free_beside(Path("runs/idarts-digits-s3-1/"), "retrain") == Path("runs/idarts-digits-s3-1-retrain-1")


# --- several seeds, with processes that only pretend to search ----------------------------------------------------


def pretended(monkeypatch: pytest.MonkeyPatch, fails: int | None = None, waits: int | None = None) -> list[int]:
    began: list[int] = []

    def start(words: object, seed: int, folder: Path, workers: int) -> seeds.Child:
        began.append(seed)
        line = {"recipe": "idarts", "task": "digits", "seed": seed, "metrics": {"test_accuracy": 0.5 + seed / 10}}
        line["baseline"] = {"random": {"n": 1, "best": 0.25, "mean": 0.25, "std": 0.0}}
        code = f"print({json.dumps(line)!r}); raise SystemExit({int(seed == fails)})"
        if seed == waits:
            raise KeyboardInterrupt
        command = [sys.executable, "-S", "-c", code]
        return seeds.Child(seed, folder / f"seed-{seed}", subprocess.Popen(command, stdout=subprocess.PIPE, text=True))

    monkeypatch.setattr(seeds, "_started", start)
    return began


def test_seeds_give_mean_and_spread(mimar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = pretended(monkeypatch)
    words = ("search", "idarts", "--seed", "1", "--seeds", "3", "--workers", "2", "--out", tmp_path / "all")
    found = last(mimar(*words, "--json").stdout)
    assert began == [1, 2, 3] and found["seeds"] == [1, 2, 3]
    assert found["metrics"]["test_accuracy"] == pytest.approx({"n": 3, "mean": 0.7, "std": 0.1})
    assert found["baseline"]["best"] == pytest.approx({"n": 3, "mean": 0.25, "std": 0.0})
    text = mimar(*words).stdout
    assert "test accuracy  70.00 % ± 10.00 % (n = 3)" in text and str(tmp_path / "all") in text


def test_failed_seed_is_named_and_the_others_are_told(mimar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended(monkeypatch, fails=2)
    (tmp_path / "seed-2.log").write_text("mimar: it broke\n")
    done = mimar("search", "idarts", "--seeds", "3", "--out", tmp_path)
    assert done.exit_code == 1
    assert "seed 2 failed: mimar: it broke" in done.stderr and "1 of 3 seeds failed: 2" in done.stderr
    assert "(n = 2)" in done.stdout


def test_interrupted_seeds_say_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended(monkeypatch, waits=6)
    with pytest.raises(MimarError) as error:
        seeds.run(["idarts", "lr=0.1"], range(5, 8), tmp_path, workers=2, json=False)
    assert str(error.value) == (
        f"saved; continue with: mimar resume {tmp_path / 'seed-5'} ; "
        f"mimar search idarts lr=0.1 --seed 6 --seeds 2 --out {tmp_path}"
    )


def test_a_seed_is_the_same_search_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[str], dict]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **rest: calls.append((command, rest)))
    seeds._started(["idarts", "--task", "digits"], 4, tmp_path / "all", workers=1)
    seeds._started(["idarts"], 4, tmp_path / "all", workers=os.cpu_count() or 1)
    tail = ["--seed", "4", "--out", str(tmp_path / "all" / "seed-4"), "--json"]
    assert calls[0][0] == [sys.executable, "-m", "mimar.cli", "search", "idarts", "--task", "digits", *tail]
    assert calls[0][1]["start_new_session"] and "stderr" not in calls[0][1]
    assert calls[1][1]["env"]["OMP_NUM_THREADS"] == "1" and calls[1][1]["stderr"].name.endswith("seed-4.log")
