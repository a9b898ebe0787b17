"""A run killed at any moment and continued is, byte for byte, the run that was never killed; one writer at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimar import runs
from mimar.core.errors import RunError

SCRIPT = Path(__file__).with_name("killing.py")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict:
    words = [sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("killed"))]
    found = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    return json.loads(found.stdout.splitlines()[-1])


def test_killed_at_random_moments(played: dict) -> None:
    found = played["random"]
    assert found["killed"] == found["whole"]
    assert len(found["whole"]) == 5  # run.json, events.jsonl, two snapshots, result.json: no litter
    assert found["kills"] >= 5
    assert 400 <= found["steps"] <= 400 + found["kills"] * found["interval"]


def test_killed_at_every_call_to_the_system(played: dict) -> None:
    assert played["calls"]["wrong"] == []
    assert played["calls"]["kills"] > 80


def test_a_child_of_a_killed_writer_does_not_keep_the_run(played: dict) -> None:
    found = played["orphan"]
    assert found["free"] is True and "not open for writing" in found["said"]


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    script = "import sys, time; from mimar import runs\nwith runs.create(sys.argv[1], {}) as store:\n print(1, flush=True)\n time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, tmp_path / "r"], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"1\n"
        for call in (lambda: runs.open_run(tmp_path / "r", write=True), lambda: _create_again(tmp_path / "r")):
            with pytest.raises(RunError, match=f"process {first.pid}:"):
                call()
        assert runs.open_run(tmp_path / "r").events() == []  # reading needs no lock
        first.kill()
        first.wait()
        with runs.open_run(tmp_path / "r", write=True) as store:
            store.append({"event": "mine"})


def _create_again(folder: Path) -> None:
    with open(folder / "run.json", "rb+") as file:  # as if the first had not come to its header yet
        text = file.read()
    (folder / "run.json").unlink()
    (folder / "events.jsonl").unlink()
    try:
        runs.create(folder, {})
    finally:
        (folder / "run.json").write_bytes(text)


def test_one_process_cannot_open_a_run_twice_for_writing(tmp_path: Path) -> None:
    with runs.create(tmp_path / "r", {}) as store:
        with pytest.raises(RunError, match=f"process {os.getpid()}"):
            runs.open_run(tmp_path / "r", write=True)
        store.append({"event": "a"})
    for _ in range(2):
        store.close()
    with pytest.raises(RunError, match="write=True"):
        store.append({"event": "b"})
    with runs.open_run(tmp_path / "r", write=True) as again:
        assert again.events() == [{"event": "a"}]


def test_an_error_in_the_block_is_the_one_that_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ZeroDivisionError), runs.create(tmp_path / "r", {}):
        monkeypatch.setattr(os, "fsync", full)
        raise ZeroDivisionError
    monkeypatch.undo()
    runs.open_run(tmp_path / "r", write=True).close()
