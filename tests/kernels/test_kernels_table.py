"""The table that decides between torch's kernels and ours: nearest row, files that are whole, and the shipped one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mimar.core.errors import DataError, UsageError
from mimar.kernels import native, table
from mimar.kernels.depthwise import depthwise

F32 = torch.float32
KEY = table.key("avx2", F32, "forward")
ROWS = {KEY: [[3, 1, 1, 16, 8, 10, 20], [3, 1, 1, 64, 8, 20, 10], [5, 2, 1, 16, 8, 20, 10]]}


def made(tmp_path: Path, **changed: object) -> Path:
    """Write a table with changed parts and return its path."""
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"format": 1, "measured": {}, "rows": ROWS} | changed))
    return path


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Let each test read the table anew, and leave the usual one behind."""
    table.current.cache_clear()
    yield
    table.current.cache_clear()


@pytest.mark.parametrize(
    ("place", "ours"),
    [
        ((3, 1, 1, 16, 8), False),
        ((3, 1, 1, 64, 8), True),
        ((3, 1, 1, 31, 8), False),
        ((3, 1, 1, 33, 8), True),
        ((3, 1, 1, 32, 8), False),  # of equal distances the first row
        ((3, 1, 1, 1000, 99.5), True),
        ((5, 2, 1, 16, 8), True),
        ((3, 2, 1, 8, 8), True),
    ],
)
def test_the_nearest_row_decides(place: tuple[float, ...], ours: bool, tmp_path: Path) -> None:
    held = table.read(made(tmp_path))
    assert held.ours("avx2", F32, "forward", place) is ours
    assert held.ours("avx2", F32, "forward", place) is ours


def test_a_table_of_another_machine_is_refused_by_name(tmp_path: Path) -> None:
    held = table.read(made(tmp_path))
    for asked in (("avx512", F32, "forward"), ("avx2", torch.float64, "forward"), ("avx2", F32, "weight")):
        with pytest.raises(DataError, match=r"table.json has no measurements for .*: it was made on another machine"):
            held.ours(*asked, (3, 1, 1, 16, 8))
    assert held.ours("triton", F32, "forward", (3, 1, 1, 16, 8))  # ours where nothing was measured


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"format": None},
        {"rows": {}},
        {"rows": []},
        {"rows": {KEY: []}},
        {"rows": {KEY: [[3, 1, 1, 16, 8, 10]]}},
        {"rows": {KEY: [[3, 1, 1, 16, 8, 10, 0]]}},
        {"rows": {KEY: [[3, 1, 1, 16, 8, 10, "fast"]]}},
        {"rows": {KEY: [[3, 1, 1, 16, 8, 10, float("nan")]]}},
        {"measured": 3},
    ],
)
def test_a_damaged_file_is_one_sentence(changed: dict, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table.json is (not|a damaged) .*mimar tune"):
        table.read(made(tmp_path, **changed))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"format": 1'])
def test_a_file_that_is_no_table_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"table.json is not a table of kernels") as caught:
        table.read(path)
    assert "\n" not in str(caught.value)


def test_the_variable_names_the_table_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = table.digest()
    path = made(tmp_path)
    monkeypatch.setenv(table.VARIABLE, str(path))
    assert table.digest() == shipped  # a process keeps its table
    table.current.cache_clear()
    assert table.current().path == path and table.digest() != shipped
    table.current.cache_clear()
    monkeypatch.setenv(table.VARIABLE, str(tmp_path / "gone.json"))
    with pytest.raises(UsageError, match=r"gone.json cannot be read: No such file"):
        table.current()


@pytest.mark.skipif(native.compiled() is None, reason="the compiled kernels were not built")
def test_an_operator_says_what_is_wrong_with_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(table.VARIABLE, str(made(tmp_path, format=7)))
    with pytest.raises(DataError, match=r"table.json is not a table of kernels"):
        depthwise(torch.ones(1, 2, 3, 3), torch.ones(2, 1, 3, 3))


def test_the_digest_follows_the_measurements_alone(tmp_path: Path) -> None:
    one = table.read(made(tmp_path))
    assert table.read(made(tmp_path, measured={"avx2": {"torch": "9"}})).digest == one.digest
    assert table.read(made(tmp_path, rows=ROWS | {KEY: ROWS[KEY][:2]})).digest != one.digest
    assert len(one.digest) == 12


def test_text_and_back(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(table.text(ROWS, {"avx2": {"threads": 2}}))
    held = table.read(path)
    assert (held.rows, held.measured) == (ROWS, {"avx2": {"threads": 2}})


def test_the_shipped_table_knows_every_processor() -> None:
    held = table.read(table.SHIPPED)
    assert set(held.measured) == set(native.SETS)
    wanted = itertools.product(native.SETS, (torch.float32, torch.float64), table.DIRECTIONS)
    assert set(held.rows) == {table.key(*words) for words in wanted}
    places = [sorted(row[:5] for row in rows) for rows in held.rows.values()]
    assert all(one == places[0] for one in places) and len(places[0]) > 50


def test_the_shipped_table_is_not_one_sided() -> None:
    held = table.read(table.SHIPPED)
    won = [row[6] < row[5] for rows in held.rows.values() for row in rows]
    assert 0.5 < sum(won) / len(won) < 1
