"""Truncated, bit-flipped, missing files and full disks: what was whole is found again, and what was not is reported."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mimar import runs
from mimar.core.errors import RunError

STEPS, INTERVAL = 14, 4


def search(folder: Path, steps: int = STEPS, finish: bool = True) -> list[str]:
    """Begin or continue a toy search to the end; return what was found damaged."""
    store = runs.open_run(folder, write=True) if runs.is_run(folder) else runs.create(folder, {"recipe": "toy"})
    with store:
        state, tensors = store.latest() or ({"step": 0}, {"w": torch.zeros(8)})
        w = tensors["w"]
        for step in range(state["step"], steps):
            w = w + torch.arange(8.0) / (step + 1)
            store.append({"event": "step", "step": step, "loss": float(w.sum())})
            if (step + 1) % INTERVAL == 0:
                store.snapshot({"step": step + 1}, {"w": w})
        if finish:
            store.write("result.json", json.dumps(w.tolist()))
        return store.damage


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    search(folder)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return Path(shutil.copytree(whole, tmp_path / "copy"))

    return make


def test_the_log_cut_at_every_byte_of_its_last_event(whole: Path, copy: Callable[[], Path]) -> None:
    data = (whole / "events.jsonl").read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    events = runs.open_run(whole).events()
    for size in range(last, len(data)):
        folder = copy()
        (folder / "events.jsonl").write_bytes(data[:size])
        with runs.open_run(folder) as store:
            assert store.events() == events[:-1]
            assert store.damage == (
                [f"events.jsonl: damaged from byte {last} to byte {size}, left out"] if size > last else []
            )
        with runs.open_run(folder, write=True) as store:  # without going back to the snapshot
            assert (folder / "events.jsonl").read_bytes() == data[:last]
            assert len(store.damage) == (size > last)
            store.append(events[-1])
        assert (folder / "events.jsonl").read_bytes() == data
        (folder / "events.jsonl").write_bytes(data[:size])
        search(folder)
        assert contents(folder) == contents(whole)


def test_the_log_cut_inside_what_a_snapshot_covers_is_mended(whole: Path, copy: Callable[[], Path]) -> None:
    data = (whole / "events.jsonl").read_bytes()
    covered = data.index(b'"step":3,')  # the two snapshots kept repeat the events of steps 4 to 11
    for size in range(data.index(b"\n", covered) + 1, len(data), 7):
        folder = copy()
        (folder / "events.jsonl").write_bytes(data[:size])
        search(folder)
        assert contents(folder) == contents(whole)


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_log_lost_beyond_mending_keeps_the_state(copy: Callable[[], Path], size: int) -> None:
    folder = copy()
    data = (folder / "events.jsonl").read_bytes()
    (folder / "events.jsonl").write_bytes(data[:size])
    damage = search(folder)
    assert any("are lost" in text for text in damage)
    assert json.loads((folder / "result.json").read_text())
    with runs.open_run(folder) as store:
        assert [e["step"] for e in store.events() if e["step"] >= 12] == [12, 13] and store.damage == []
    for _ in range(2):  # and it is a run like any other from then on
        search(folder, steps=30)
    assert [e["step"] for e in runs.open_run(folder).events()][-18:] == list(range(12, 30))


def test_a_flipped_bit_in_the_log_costs_its_own_events_only(whole: Path, copy: Callable[[], Path]) -> None:
    data = (whole / "events.jsonl").read_bytes()
    events = runs.open_run(whole).events()
    rng = random.Random(0)
    for _ in range(150):
        position = rng.randrange(len(data))
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.randrange(8)
        folder = copy()
        (folder / "events.jsonl").write_bytes(damaged)
        number = data.count(b"\n", 0, position)
        with runs.open_run(folder) as store:
            found = store.events()
            assert [e for e in events if e in found] == found  # nothing that was never written
            gone = {e["step"] for e in events} - {e["step"] for e in found}
            assert number in gone and gone <= {number, number + 1} and len(store.damage) == 1
            assert store.latest() is not None
        damage = search(folder)
        assert damage
        if 4 <= number < 11 or number > 11:  # repeated in a snapshot, or done again
            assert contents(folder) == contents(whole)
        else:
            assert (folder / "result.json").read_bytes() == (whole / "result.json").read_bytes()


def test_a_snapshot_cut_at_200_offsets_falls_back_to_the_one_before(whole: Path, copy: Callable[[], Path]) -> None:
    *_, before, newest = sorted((whole / "snapshots").iterdir())
    data = newest.read_bytes()
    rng = random.Random(1)
    for size in sorted(rng.sample(range(len(data)), 200)):
        _fall_back(copy(), newest.name, data[:size], whole)
    assert before.name.startswith("000002")


def test_a_flipped_bit_in_a_snapshot_falls_back_to_the_one_before(whole: Path, copy: Callable[[], Path]) -> None:
    newest = max((whole / "snapshots").iterdir())
    rng = random.Random(2)
    for _ in range(100):
        data = bytearray(newest.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        _fall_back(copy(), newest.name, bytes(data), whole)


def _fall_back(folder: Path, name: str, data: bytes, whole: Path) -> None:
    (folder / "snapshots" / name).write_bytes(data)
    with runs.open_run(folder) as store:
        state, _ = store.latest() or ({}, {})
        assert state == {"step": 8}
        assert store.damage == [
            f"snapshots/{name}: its content does not match the digest in its name, left out",
        ]
        assert len(store.events()) == STEPS
    search(folder)
    assert contents(folder) == contents(whole)


def test_all_snapshots_damaged_begins_again(whole: Path, copy: Callable[[], Path]) -> None:
    folder = copy()
    for path in (folder / "snapshots").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert len(search(folder)) == 2
    assert contents(folder) == contents(whole)


def test_a_damaged_newer_snapshot_of_another_content_is_removed_in_time(copy: Callable[[], Path]) -> None:
    folder = copy()
    (folder / "snapshots" / "000009-0123456789abcdef.safetensors").write_bytes(b"not one")
    search(folder, steps=20)
    assert [p.name[:6] for p in sorted((folder / "snapshots").iterdir())] == ["000004", "000005"]


def test_unfinished_files_are_removed_on_opening_for_writing_only(copy: Callable[[], Path]) -> None:
    folder = copy()
    litter = [folder / ".result.json.mimar-tmp", folder / "snapshots" / ".000004-x.safetensors.mimar-tmp"]
    for path in litter:
        path.write_bytes(b"half")
    runs.open_run(folder).close()
    assert all(path.exists() for path in litter)
    runs.open_run(folder, write=True).close()
    assert not any(path.exists() for path in litter)


class Full:
    """A disk that is full from the n-th call on, for one call or for good; half of a write may still fit."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, call: int, half: bool, once: bool) -> None:
        self.count, self.real, self.call, self.half, self.once = 0, getattr(os, name), call, half, once
        patch.setattr(os, name, self)

    def __call__(self, *args: object, **keywords: object) -> object:
        self.count += 1
        if self.count == self.call or (self.count > self.call and not self.once):
            if self.half and self.count == self.call and isinstance(args[-1], memoryview) and len(args[-1]) > 1:
                return self.real(args[0], args[-1][: len(args[-1]) // 2])
            if not (self.half and self.count == self.call):
                raise OSError(28, "No space left on device")
        return self.real(*args, **keywords)


@pytest.mark.parametrize("once", [True, False], ids=["once", "for-good"])
@pytest.mark.parametrize(
    ("name", "half"), [("write", False), ("write", True), ("fsync", False), ("replace", False), ("open", False)]
)
def test_a_disk_full_at_every_call(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, half: bool, once: bool
) -> None:
    """Beginning and every continuation end with one sentence, and then the run still opens and can be continued."""
    failures = 0
    for call in range(1, 1000):
        folder = tmp_path / f"{call}"
        with monkeypatch.context() as patch:
            disk = Full(patch, name, call, half, once)
            try:
                search(folder)
            except RunError as error:
                failures += 1
                assert "no space left" in str(error) and "\n" not in str(error)
        if disk.count < call:
            assert call > 5
            break
        if folder.exists():
            assert not [p for p in folder.rglob(".*")], "litter"
            with runs.open_run(folder) as store:
                assert store.damage == [] and [e["step"] for e in store.events()] == list(range(len(store.events())))
                state, _ = store.latest() or ({"step": 0}, {})
                assert len(store.events()) >= state["step"]
                assert len(store.events()) - state["step"] <= INTERVAL
        search(folder)
        assert contents(folder) == contents(whole)
    assert failures >= (0 if half and once else 5)  # a short write that then fits is no failure


def test_a_store_goes_on_when_the_disk_has_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with runs.create(tmp_path / "r", {}) as store:
        store.append({"event": "a"})
        for name in ("write", "fsync", "replace"):
            with monkeypatch.context() as patch:
                Full(patch, name, 1, False, False)
                with pytest.raises(RunError):
                    store.snapshot({"n": 1}, {})
        with monkeypatch.context() as patch:
            Full(patch, "write", 1, True, False)
            Full(patch, "ftruncate", 1, False, False)  # not even the half line can be taken back
            with pytest.raises(RunError, match="no space left"):
                store.append({"event": "b", "text": "x" * 50})
        store.append({"event": "c"})
        store.snapshot({"n": 2}, {})
        assert store.events() == [{"event": "a"}, {"event": "c"}] and store.latest() == ({"n": 2}, {})
    assert runs.open_run(tmp_path / "r").damage == []


def test_a_real_limit_on_the_size_of_files(tmp_path: Path) -> None:
    script = """
import json, resource, signal, sys, torch
from mimar import runs
from mimar.core.errors import RunError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
said, count = [], 0
store = runs.create(sys.argv[1], {})
for size in (10, 10, 5000):
    try:
        store.snapshot({"size": size}, {"w": torch.zeros(size)})
    except RunError as error:
        said.append(str(error))
try:
    while True:
        store.append({"event": "x" * 90, "count": count})
        count += 1
except RunError as error:
    said.append(str(error))
try:
    store.write("result.json", "x" * 6000)
except RunError as error:
    said.append(str(error))
store.close()
print(json.dumps([said, count]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "r")], stdout=subprocess.PIPE, text=True, timeout=120, check=True
    )
    said, count = json.loads(done.stdout)
    assert len(said) == 3 and all("no space left" in text and "\n" not in text for text in said)
    assert count > 20
    names = sorted(str(p.relative_to(tmp_path / "r")) for p in (tmp_path / "r").rglob("*") if p.is_file())
    assert len(names) == 4 and not any("tmp" in name or "result" in name for name in names)
    with runs.open_run(tmp_path / "r") as store:
        assert [e["count"] for e in store.events()] == list(range(count)) and store.damage == []
        assert (store.latest() or ({}, {}))[0] == {"size": 10}
