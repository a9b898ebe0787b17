"""`mimar tune`: a table that is written whole, that the next process uses, and what is refused before measuring."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimar.cli import tuning
from mimar.kernels import native, table

pytestmark = pytest.mark.skipif(native.compiled() is None, reason="the compiled kernels were not built")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Let each test read the table anew, and leave the usual one behind."""
    table.current.cache_clear()
    yield
    table.current.cache_clear()


def test_tune_writes_a_table_and_doctor_uses_it(mimar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "mine.json"
    done = mimar("tune", "--quick", "--out", out)
    assert done.exit_code == 0, done.stderr
    told, how = done.stdout.splitlines()
    assert told.startswith(f"wrote {out}: for {native.described()} our kernels are the faster ones in ")
    assert how == f"to use it: export {table.VARIABLE}={out}"
    held = table.read(out)
    assert {name.split()[0] for name in held.rows} == {native.described()} == set(held.measured)
    assert len(held.rows) == 6 and all(len(rows) == 1 for rows in held.rows.values())
    assert held.measured[native.described()]["threads"] == 1
    monkeypatch.setenv(table.VARIABLE, str(out))
    found = json.loads(mimar("doctor", "--json").stdout)
    assert found["compiled kernels"] == native.described()
    assert found["kernel table"] == f"{out}, digest {held.digest}"
    assert list(tmp_path.iterdir()) == [out]


def test_rows_of_other_processors_are_kept(mimar, tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    other = {"elsewhere float32 forward": [[3, 1, 1, 8, 8, 1, 2]]}
    out.write_text(table.text(other, {"elsewhere": {"torch": "9"}}))
    assert mimar("tune", "--quick", "--out", out).exit_code == 0
    held = table.read(out)
    assert len(held.rows) == 7 and held.rows["elsewhere float32 forward"] == other["elsewhere float32 forward"]
    assert held.measured["elsewhere"] == {"torch": "9"}


def test_a_file_that_is_no_table_is_not_overwritten(mimar, tmp_path: Path) -> None:
    out = tmp_path / "precious.json"
    out.write_text('{"mine": 1}')
    done = mimar("tune", "--quick", "--out", out)
    assert done.exit_code == 1 and "precious.json is not a table of kernels" in done.stderr
    assert out.read_text() == '{"mine": 1}'


def test_nothing_to_measure_or_nowhere_to_write(mimar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_times", None)  # everything is refused before anything is measured
    done = mimar("tune", "--out", tmp_path / "gone" / "mine.json")
    assert done.exit_code == 2 and f"there is no folder {tmp_path / 'gone'}" in done.stderr
    done = mimar("tune", "--device", "gpu", "--out", tmp_path / "mine.json")
    assert done.exit_code == 2 and "device 'gpu' is not available" in done.stderr
    monkeypatch.setattr(native, "described", lambda: "torch")
    done = mimar("tune", "--out", tmp_path / "mine.json")
    assert done.exit_code == 2 and "there is nothing to choose" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctor_tells_of_a_broken_table_and_of_missing_kernels(
    mimar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(table.VARIABLE, str(tmp_path / "gone.json"))
    monkeypatch.setattr(native, "described", lambda: "torch")
    found = json.loads(mimar("doctor", "--json").stdout)
    assert found["compiled kernels"] == "not built, pure torch"
    assert found["kernel table"].endswith("gone.json cannot be read: No such file or directory")
    assert "triton" in found
