"""A run is created, written, read and continued; what is refused is refused in one sentence."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mimar import runs
from mimar.core.errors import RunError, UsageError

HEADER = {"recipe": "idarts", "seed": 3, "space": [{"name": "a", "options": ["x", "y"]}], "note": "معمار"}


def sentence(text: str) -> bool:
    return len(text) > 20 and "\n" not in text and "Errno" not in text and "Traceback" not in text


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    events = [{"event": "epoch", "epoch": i, "loss": 1 / (i + 3), "gates": {"a": [0.1, 0.9]}} for i in range(5)]
    with runs.create(folder, HEADER) as store:
        assert store.writable and store.latest() is None and store.events() == []
        for event in events:
            store.append(event)
        store.snapshot({"epoch": 5}, {"w": torch.arange(3.0)})
        store.write("result.json", "{}")
        store.write("model.safetensors", b"\x00\xff")
    assert runs.is_run(folder) and not runs.is_run(tmp_path)
    with runs.open_run(folder) as store:
        assert store.header == {"format": 1, **HEADER}
        assert store.events() == events and store.damage == [] and not store.writable
        state, tensors = store.latest() or ({}, {})
        assert state == {"epoch": 5} and torch.equal(tensors["w"], torch.arange(3.0))
        assert store.read("model.safetensors") == b"\x00\xff"
        with pytest.raises(RunError, match="report.html"):
            store.read("report.html")
    assert sorted(os.listdir(folder)) == ["events.jsonl", "model.safetensors", "result.json", "run.json", "snapshots"]


def test_files_are_plain_json_lines(tmp_path: Path) -> None:
    with runs.create(tmp_path / "r", HEADER) as store:
        store.append({"event": "warned", "text": "a\nb", "value": 1.5})
    lines = (tmp_path / "r" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["value"] for line in lines] == [1.5]
    assert json.loads((tmp_path / "r" / "run.json").read_text())["recipe"] == "idarts"


def test_reading_changes_nothing(tmp_path: Path) -> None:
    with runs.create(tmp_path / "r", HEADER) as store:
        store.append({"event": "a"})
        store.snapshot({}, {})
        store.append({"event": "b"})
    log = tmp_path / "r" / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-3])
    (tmp_path / "r" / ".result.json.mimar-tmp").write_text("half")
    before = {p: p.read_bytes() for p in sorted((tmp_path / "r").rglob("*")) if p.is_file()}
    with runs.open_run(tmp_path / "r") as store:
        assert store.latest() == ({}, {}) and store.events() == [{"event": "a"}]
        for write in (
            lambda: store.append({"event": "c"}),
            lambda: store.snapshot({}, {}),
            lambda: store.write("x", ""),
        ):
            with pytest.raises(RunError, match="write=True"):
                write()
    assert before == {p: p.read_bytes() for p in sorted((tmp_path / "r").rglob("*")) if p.is_file()}


def test_numbers_come_back_exactly(tmp_path: Path) -> None:
    values = {"event": "x", "nan": math.nan, "inf": [math.inf, -math.inf], "tiny": 5e-324, "int": 2**63, "third": 1 / 3}
    with runs.create(tmp_path / "r", {"limit": math.inf}) as store:
        store.append(values)
        store.snapshot(values, {})
        assert store.header["limit"] == math.inf
        (state, _), (event,) = store.latest() or ({}, {}), store.events()
    for got in (state, event):
        assert math.isnan(got.pop("nan")) and got == {k: v for k, v in values.items() if k != "nan"}
    assert "NaN" not in (tmp_path / "r" / "events.jsonl").read_text()


@pytest.mark.parametrize(
    "event", [{}, {"crc32": "0"}, {"event": torch.zeros(2)}, {"event": {1: 2}}, ["event"], {"event": {"a", "b"}}]
)
def test_an_event_that_would_not_come_back_is_refused(tmp_path: Path, event: dict) -> None:
    with runs.create(tmp_path / "r", {}) as store:
        with pytest.raises(UsageError) as caught:
            store.append(event)
        assert sentence(str(caught.value)) and store.events() == []


@pytest.mark.parametrize("header", [{"format": 2}, {"crc32": ""}, {"a": object()}, {"a": {1: 2}}])
def test_a_header_that_would_not_come_back_makes_no_folder(tmp_path: Path, header: dict) -> None:
    with pytest.raises(UsageError):
        runs.create(tmp_path / "r", header)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["", "a/b", "../x", "run.json", "events.jsonl", "snapshots", ".lock", "."])
def test_a_file_of_a_run_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with runs.create(tmp_path / "r", {}) as store, pytest.raises(UsageError):
        store.write(name, "x")


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    runs.create(tmp_path / "r", HEADER).close()
    before = (tmp_path / "r" / "run.json").read_bytes()
    with pytest.raises(RunError, match="resume it, or give another folder"):
        runs.create(tmp_path / "r", {})
    assert (tmp_path / "r" / "run.json").read_bytes() == before


def test_a_folder_with_other_things_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="not empty and not a run"):
        runs.create(tmp_path, {})
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_an_empty_folder_and_a_killed_creation_can_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    runs.create(tmp_path / "a", {}).close()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".lock").write_text("12345\n")
    (tmp_path / "b" / ".run.json.mimar-tmp").write_text('{"form')
    runs.create(tmp_path / "b", {}).close()
    assert sorted(os.listdir(tmp_path / "b")) == ["events.jsonl", "run.json"]


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/mimar-run", "/dev/null"])
def test_a_place_that_cannot_be_a_folder(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("mine")
    for call in (lambda p: runs.create(p, {}), runs.open_run):
        with pytest.raises(RunError) as caught:
            call(tmp_path / where)
        assert sentence(str(caught.value))
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["open", "mkdir", "listdir"])
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_an_unreadable_or_read_only_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: OSError
) -> None:
    runs.create(tmp_path / "r", {}).close()

    def refuse(*args: object, **keywords: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse)
        with pytest.raises(RunError) as caught:
            runs.create(tmp_path / "new", {})
        assert sentence(str(caught.value)) and (error.strerror or "?").lower() in str(caught.value)
        if name != "mkdir":
            with pytest.raises(RunError) as caught:
                runs.open_run(tmp_path / "r", write=True)
            assert sentence(str(caught.value))
    assert not (tmp_path / "new").exists()
    runs.open_run(tmp_path / "r", write=True).close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ('{"format": 1, "seed": 3', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "no format number"),
        ("{}", "no format number"),
        ('{"format": "1"}', "no format number"),
        ('{"format": 2}', "newer mimar .format 2; this one reads 1"),
        ('{"format": 1, "seed": 4, "crc32": "00000000"}', "checksum"),
        ('{"format": 1, "seed": 4}', "checksum"),
        ('{"format": 0, "crc32": 1}', "checksum"),
    ],
)
def test_a_header_that_is_damaged_or_newer(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "run.json").write_text(text)
    for write in (False, True):
        with pytest.raises(RunError, match=said) as caught:
            runs.open_run(tmp_path, write=write)
        assert sentence(str(caught.value))
    assert os.listdir(tmp_path) == ["run.json"]


def test_what_is_no_run_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no run.json"):
        runs.open_run(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        runs.open_run(tmp_path / "absent", write=True)
    assert os.listdir(tmp_path) == []


def test_a_flipped_bit_in_the_header_is_never_another_run(tmp_path: Path) -> None:
    runs.create(tmp_path / "r", HEADER).close()
    path = tmp_path / "r" / "run.json"
    whole, header = path.read_bytes(), {"format": 1, **HEADER}
    for position in range(0, len(whole) * 8, 5):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert runs.open_run(tmp_path / "r").header == header  # a changed space between values
        except RunError as error:
            assert sentence(str(error))


def test_a_link_out_of_the_run_is_not_written_through(tmp_path: Path) -> None:
    runs.create(tmp_path / "r", {}).close()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "r" / "events.jsonl").unlink()
    (tmp_path / "r" / "events.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(RunError):
        runs.open_run(tmp_path / "r", write=True)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    runs.create(tmp_path / "r", {}).close()
    (tmp_path / "r" / "events.jsonl").unlink()
    os.mkfifo(tmp_path / "r" / "events.jsonl")
    with pytest.raises(RunError, match="not a regular file"):
        runs.open_run(tmp_path / "r")


def test_an_append_is_cheap(tmp_path: Path) -> None:
    event = {"event": "epoch", "gates": {f"cell/{i}": [0.125] * 8 for i in range(6)}, "loss": 0.5}
    with runs.create(tmp_path / "r", {}) as store:
        start = time.perf_counter()
        for _ in range(500):
            store.append(event)
        assert (time.perf_counter() - start) / 500 < 1e-3  # seconds; measured about 0.05 ms
        assert len(store.events()) == 500


def test_versions_are_strings_and_counts() -> None:
    found = runs.versions()
    assert found["torch"] == torch.__version__ and found["threads"] == torch.get_num_threads()
    assert {"mimar", "python", "platform", "device"} <= found.keys() and found["device"]
    json.dumps(found)


def test_opening_loads_no_pickle_and_runs_no_code(tmp_path: Path) -> None:
    """A stranger's run: snapshots that are pickles and archives with the right digest in their names."""
    script = """
import hashlib, os, pickle, sys, torch
from pathlib import Path
from mimar import runs
folder = Path(sys.argv[1]) / "r"
class Bomb:
    def __reduce__(self):
        return (os.mkdir, (str(folder.parent / "exploded"),))
runs.create(folder, {}).close()
os.mkdir(folder / "snapshots")
torch.save({"a": Bomb()}, folder / "archive")
for i, data in enumerate((pickle.dumps(Bomb()), (folder / "archive").read_bytes(), b"", b"[" * 99999)):
    name = f"{i + 1:06d}-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
    (folder / "snapshots" / name).write_bytes(data)
seen = []
sys.addaudithook(lambda name, args: seen.append(name) if name.startswith(("pickle", "subprocess", "os.system")) else None)
for write in (False, True):
    with runs.open_run(folder, write=write) as store:
        assert store.latest() is None and len(store.damage) == 4, store.damage
assert seen == [], seen
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script, str(tmp_path)], check=True, timeout=120)
    assert not (tmp_path / "exploded").exists()
