"""A toy search and its murder, run as a script in a process of its own, since it forks.

    python killing.py FOLDER

`random`: killed at random moments until it is through. `calls`: killed at every call to the system, before it and in the
middle of it. `orphan`: killed while a child of it lives on. Prints one JSON object for the tests to judge.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mimar import runs
from mimar.core.errors import RunError

INTERVAL = 5
CALLS = ("write", "fsync", "replace", "ftruncate", "unlink", "mkdir")


def search(folder: Path, steps: int, interval: int = INTERVAL, tally: Path | None = None) -> None:
    """Sum numbers, one event a step, one snapshot an interval; begin or continue, whatever the folder holds."""
    store = runs.open_run(folder, write=True) if runs.is_run(folder) else runs.create(folder, {"recipe": "sum"})
    with store:
        state, tensors = store.latest() or ({"step": 0}, {"total": torch.zeros(3), "count": torch.tensor(0)})
        total, count = tensors["total"], tensors["count"]
        for step in range(state["step"], steps):
            total, count = total + torch.tensor([1.0, step, 1 / (step + 1)]), count + 1
            store.append({"event": "step", "step": step, "total": total.tolist()})
            if tally:
                with tally.open("a") as file:
                    file.write("x")
            if (step + 1) % interval == 0:
                store.snapshot({"step": step + 1}, {"total": total, "count": count})
        store.write("result.json", json.dumps(total.tolist()))


def contents(folder: Path) -> dict[str, str]:
    """Every file of the folder, in hexadecimal."""
    return {str(p.relative_to(folder)): p.read_bytes().hex() for p in sorted(folder.rglob("*")) if p.is_file()}


def fork(work: Callable[[], None]) -> int:
    """Start a child that does `work` and return its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)  # never back into the parent's work


def murdered(pid: int) -> bool:
    """Wait for a child; tell whether it was killed. Any other failure of it ends the script."""
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the search failed by itself"
    return False


def die_at(call: int, when: str) -> None:
    """Arrange that this process dies at its `call`-th call to the system."""
    count = [0]

    def deadly(real: Callable) -> Callable:
        def do(*args: object, **keywords: object) -> object:
            count[0] += 1
            if count[0] == call:
                if when == "middle" and real is write:
                    real(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **keywords)

        return do

    write = os.write
    for name in CALLS:
        setattr(os, name, deadly(getattr(os, name)))


def at_random(folder: Path, seed: int) -> dict:
    """Kill at random moments; the steps are tallied outside the run."""
    rng, kills, tally = random.Random(seed), 0, folder.with_name("tally")
    search(folder.with_name("whole"), 400)
    while True:
        pid = fork(lambda: search(folder, 400, tally=tally))
        time.sleep(rng.uniform(0.0, 0.03))
        if kills < 12:
            os.kill(pid, signal.SIGKILL)
        if not murdered(pid):
            break
        kills += 1
    result = {"whole": contents(folder.with_name("whole")), "killed": contents(folder)}
    return result | {"kills": kills, "steps": tally.stat().st_size, "interval": INTERVAL}


def at_calls(folder: Path) -> dict:
    """Kill at every call, continue, compare."""
    search(folder.with_name("whole"), 9, 2)
    whole, kills, wrong = contents(folder.with_name("whole")), 0, []
    for when in ("before", "middle"):
        call = 0
        while True:
            call += 1
            shutil.rmtree(folder, ignore_errors=True)

            def work(call: int = call, when: str = when) -> None:
                die_at(call, when)
                search(folder, 9, 2)

            if not murdered(fork(work)):
                break
            kills += 1
            if runs.is_run(folder):
                runs.open_run(folder).latest()
            assert not murdered(fork(lambda: search(folder, 9, 2)))
            if contents(folder) != whole:
                wrong.append([when, call, sorted(contents(folder))])
    return {"kills": kills, "wrong": wrong}


def orphan(folder: Path) -> dict:
    """Kill a writer whose own child lives on: the run must be free at once; the child may not write."""
    (born, number), (heard, told) = os.pipe(), os.pipe()  # two pipes: the child may speak before its parent does
    store = runs.create(folder, {})

    def child() -> None:
        try:
            store.append({"event": "x"})
            os.write(told, b"wrote")
        except RunError as error:
            os.write(told, str(error).encode())
        time.sleep(60)

    def parent() -> None:
        with runs.open_run(folder, write=True) as mine:
            nonlocal store
            store = mine
            os.write(number, str(fork(child)).encode())
            time.sleep(60)

    store.close()
    pid = fork(parent)
    grandchild, said = int(os.read(born, 20)), os.read(heard, 1000).decode()
    os.kill(pid, signal.SIGKILL)
    assert murdered(pid)
    try:
        runs.open_run(folder, write=True).close()
        return {"free": True, "said": said}
    except RunError as error:
        return {"free": str(error), "said": said}
    finally:
        os.kill(grandchild, signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    for name in ("random", "calls", "orphan"):
        (place / name).mkdir()
    done = {
        "random": at_random(place / "random" / "run", 0),
        "calls": at_calls(place / "calls" / "run"),
        "orphan": orphan(place / "orphan" / "run"),
    }
    print(json.dumps(done))
