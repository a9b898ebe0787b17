"""Runs of a search: killed, interrupted, out of memory, out of disk, on another machine."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mimar import runs
from mimar.core.describe import describe, digest, rebuild
from mimar.core.errors import OutOfMemoryError, RunError
from mimar.core.events import Event, Step
from mimar.recipes import idarts
from mimar.tasks import arrays, labelled

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("tiny", HERE / "tiny.py")
assert spec and spec.loader
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)


def process(folder: Path, journal: Path, recipe: str = "idarts", **more: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "tiny.py"), str(folder), str(journal), recipe]
    return subprocess.Popen(command, **({"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | more))


def outcome(folder: Path) -> tuple[dict[str, Any], bytes]:
    result = json.loads((folder / "result.json").read_text())
    result.pop("seconds"), result.pop("run")
    return result, (folder / "events.jsonl").read_bytes()


def sittings(journal: Path) -> list[list[str]]:
    """Return the lines of every process that wrote into the journal."""
    return [part.splitlines() for part in journal.read_text().split("begin\n")[1:]]


def test_killed_ten_times_it_gives_the_same_and_repeats_little(tmp_path: Path) -> None:
    whole = process(tmp_path / "whole", tmp_path / "whole.log")
    assert whole.wait(120) == 0
    chance, killed, journal = random.Random(0), 0, tmp_path / "killed.log"
    journal.touch()
    while killed < 10:
        aim = chance.randrange(1, 4)  # steps of this sitting before the kill
        child = process(tmp_path / "killed", journal)
        while child.poll() is None:
            parts = sittings(journal)
            if len(parts) > killed and len(parts[killed]) >= aim:
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        if child.wait(60) == 0:
            break  # it was done before the kill came
        killed += 1
    last = process(tmp_path / "killed", journal)
    assert last.wait(120) == 0
    assert killed == 10
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
    order = {line: i for i, line in enumerate(sittings(tmp_path / "whole.log")[0])}
    furthest = -1
    for part in sittings(journal):
        steps = [order[line] for line in part if line in order]
        if steps:
            assert furthest + 1 - steps[0] <= tiny.EVERY  # work done twice: at most one interval between snapshots
            furthest = max(furthest, *steps)


def test_ctrl_c_saves_and_the_rest_is_the_same(tmp_path: Path) -> None:
    child = process(tmp_path / "run", tmp_path / "log", stderr=subprocess.PIPE)
    while not (tmp_path / "log").exists() or len((tmp_path / "log").read_text().splitlines()) < 4:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in child.communicate(timeout=60)[1]
    assert child.returncode != 0
    done = sittings(tmp_path / "log")[0]
    again = process(tmp_path / "run", tmp_path / "log")
    assert again.wait(120) == 0
    first = next(line for line in sittings(tmp_path / "log")[1] if line.startswith("["))
    assert json.loads(first)[2] == json.loads(done[-1])[2] + 1  # nothing repeated, nothing left out


def test_result_is_whole(tmp_path: Path) -> None:
    seen: list[Event] = []
    found = idarts.recipe(**tiny.options(net=tiny.model(), baseline=1)).run(tmp_path / "run", progress=seen.append)
    assert any(isinstance(e, Step) for e in seen)
    with runs.open_run(tmp_path / "run") as store:
        assert store.header["recipe"] == "idarts"
        assert store.header["hash"] == digest(store.header["tree"])
    x = torch.randn(4, 1, 8, 8)
    assert found.model(x).shape == (4, 10)
    assert not any(type(m).__module__.startswith("mimar") for m in found.model.modules())
    assert 0 <= found.metrics["test_accuracy"] <= 1
    assert set(found.baseline["random"]) == {"n", "best", "mean", "std"}
    from safetensors.torch import load_file

    kept = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(kept[n], t) for n, t in found.model.state_dict().items())
    again = idarts.recipe(**tiny.options(net=tiny.model(), baseline=1)).run(tmp_path / "other")
    assert again.data == found.data


def test_resumed_after_the_end_it_is_the_same_result(tmp_path: Path) -> None:
    search = idarts.recipe(**tiny.options(net="nasbench201:cells=1,channels=2", baseline=0, epochs=1))
    first = search.run(tmp_path / "run")
    again = search.run(tmp_path / "run", resume=True)
    assert again.data == first.data
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))
    with runs.open_run(tmp_path / "run") as store:
        rebuilt = rebuild(store.header["tree"])
    assert describe(rebuilt) == describe(search)


def test_another_search_another_data_another_machine(tmp_path: Path) -> None:
    search = idarts.recipe(**tiny.options(baseline=0, epochs=1))
    search.run(tmp_path / "run")
    with pytest.raises(RunError, match="already holds a run"):
        search.run(tmp_path / "run")
    with pytest.raises(RunError, match="other options"):
        idarts.recipe(**tiny.options(baseline=0, epochs=1, terms=3)).run(tmp_path / "run", resume=True)
    x, y = torch.rand(200, 8, 8), torch.arange(200) % 10
    idarts.recipe(**tiny.options(baseline=0, epochs=1, task=arrays(x, y))).run(tmp_path / "arrays")
    x[0] += 1
    with pytest.raises(RunError, match="was made with"):
        idarts.recipe(**tiny.options(baseline=0, epochs=1, task=arrays(x, y))).run(tmp_path / "arrays", resume=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(RunError, match="--inexact"):
            search.run(tmp_path / "run", resume=True)
        from mimar.search import run

        assert run(search, tmp_path / "run", resume=True, inexact=True).metrics
    finally:
        torch.set_num_threads(threads)


def test_own_modules_continue_from_python_only(tmp_path: Path) -> None:
    idarts.recipe(**tiny.options(net=tiny.model(), baseline=0, epochs=1)).run(tmp_path / "run")
    with runs.open_run(tmp_path / "run") as store, pytest.raises(RunError, match="from Python"):
        rebuild(store.header["tree"])


def test_out_of_memory_says_what_to_make_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, calls = labelled.Bound.loss, [0]

    def hungry(self: Any, forward: Any, batch: Any) -> Tensor:
        calls[0] += 1
        if calls[0] == 9:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"
            )
        return loss(self, forward, batch)

    monkeypatch.setattr(labelled.Bound, "loss", hungry)
    search = idarts.recipe(**tiny.options(baseline=0, epochs=1))
    with pytest.raises(OutOfMemoryError, match="make the batch"):
        search.run(tmp_path / "run")
    monkeypatch.undo()
    assert search.run(tmp_path / "run", resume=True).data == search.run().data


def test_a_full_disk_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # below the size of a snapshot with moments

    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    child = process(tmp_path / "run", tmp_path / "log", preexec_fn=limit, env=env, stderr=subprocess.PIPE)
    _, error = child.communicate(timeout=120)
    assert child.returncode != 0
    assert b"RunError" in error
    assert not [p for p in (tmp_path / "run").rglob("*") if "tmp" in p.name]
    whole = process(tmp_path / "whole", tmp_path / "whole.log")
    again = process(tmp_path / "run", tmp_path / "log2")
    assert whole.wait(120) == 0
    assert again.wait(120) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_no_folder_to_resume() -> None:
    with pytest.raises(RunError, match="needs the folder"):
        idarts.recipe(**tiny.options()).run(resume=True)
