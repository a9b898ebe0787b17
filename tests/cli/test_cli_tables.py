"""Benchmark tables on the command line: listed, located, searched by name or by file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_tables_are_listed_and_located(mimar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = json.loads(mimar("list", "tasks", "--json").stdout)
    assert next(iter(listed)) == "digits" and "table of your folder" in listed["nats-bench"]
    monkeypatch.setenv("MIMAR_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / "fcnet_hpo.npz").write_bytes(b"x")
    assert mimar("data", "fcnet").stdout == f"fcnet: found in {tmp_path}/nas/fcnet_hpo.npz\n"
    assert "nasbench-graph is not on this machine" in mimar("data", "nasbench-graph").stdout
    every = mimar("data").stdout
    assert all(f"\n{name}" in every for name in listed if name != "digits")
    done = mimar("search", "random", "--task", "nasbench-graph", "--out", tmp_path / "run")
    assert done.exit_code == 1 and "set MIMAR_DATA to the folder that holds nas/nasbenchgraph.npz" in done.stderr


def test_a_csv_file_is_searched(mimar, tmp_path: Path) -> None:
    lines = [
        f"{width},{norm},{width / 100 + len(norm) / 1000}"
        for width in (8, 16, 32)
        for norm in ("batch", "layer", "none")
    ]
    (tmp_path / "mine.csv").write_text("width,norm,valid_accuracy\n" + "\n".join(lines))
    task = f"table:{tmp_path}/mine.csv"
    done = mimar("search", "random", "queries=40", "--task", task, "--out", tmp_path / "run", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["architecture"]["width"] == 32 and found["task"] == task
    done = mimar("search", "random", "--task", f"table:{tmp_path}/gone.csv", "--out", tmp_path / "other")
    assert done.exit_code == 1 and "there is no table" in done.stderr
