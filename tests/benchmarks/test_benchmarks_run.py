"""The benchmarks run, small, and say what they are asked for; their figures at these sizes mean nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import conditions
import pytest
import supernet
import torch

FOLDER = Path(supernet.__file__).parent


def run(name: str, *options: str) -> list[list[str]]:
    """Return the printed table of a benchmark, line by line, cell by cell; it runs on one thread and writes nothing."""
    results = sorted(FOLDER.glob("results/*"))
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick", *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(FOLDER.glob("results/*")) == results
    return [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]


def test_supernet_prints_the_rows_of_the_table() -> None:
    head, *rows = run("supernet", "--device", "cpu")
    assert head[:6] == ["measure", "on", "must", "aim", "ratio", "quartiles"]
    assert [row[0] for row in rows] == [
        *("step, plain / ours", "step, plain channels-last / ours") * 2,
        "single path / softmax",
        "overhead on a tiny net, ours / plain",
    ]
    bounds = [row[2:4] for row in rows if row[2].startswith((">=", "<="))]
    table = [[">= 4", ">= 10"], [">= 2.5", ">= 6"], [">= 3", ">= 6"], ["<= 0.25", "<= 0.16"], ["<= 0.8", "<= 0.4"]]
    assert bounds == table
    for row in rows:
        at = next(i for i, cell in enumerate(row) if " to " in cell)
        low, high = map(float, row[at].split(" to "))
        assert 0 < low <= float(row[at - 1]) <= high


def test_engines_compares_both_on_as_many_seeds_as_a_claim_needs() -> None:
    _, seconds, accuracy, test = run("engines")
    assert seconds[0].startswith("seconds of a search") and float(seconds[3]) > 0
    assert accuracy[0].startswith("test accuracy") and 0 < float(accuracy[2]) and int(accuracy[-1]) == 8
    assert test[2] == ">= 0.05" and 0 <= float(test[3]) <= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_said_not_to_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["supernet.py", "--device", "cuda"])
    supernet.main()
    assert "no GPU here" in capsys.readouterr().out


def test_the_rows_of_a_gpu_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supernet, "CURVE", 2)
    monkeypatch.setattr(supernet, "WINDOW", 1)
    monkeypatch.setattr(supernet, "SEEDS", 2)
    rows = list(supernet.on_gpu(supernet.QUICK["gpu"], 0.0, (1, 1), device="cpu"))
    assert [row["must"] for row in rows] == [">= 4", "", "<= 0.5", ">= 6", "", "<= 0.5", ">= 1"]
    assert 0 <= float(rows[-1]["ratio"]) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("memory", "peak MiB, ours / plain"),
        ("hypergradient", "iDARTS outer step in units, ours"),
        ("loader", "loader's share of a search"),
        ("roofline", "arithmetic, GFLOP"),
    ],
)
def test_the_others_run(name: str, first: str) -> None:
    _, row, *_ = run(name)
    assert row[0] == first and any(re.match(r"[\d.e-]+$", cell) for cell in row)


# --- what the pages show --------------------------------------------------------------------------------------------


@pytest.fixture
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", FOLDER.parent / "docs" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_shows_what_was_written(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(conditions, "RESULTS", tmp_path / "benchmarks" / "results")
    page = "a\n<!-- measured: speed -->\nold\n<!-- end of measured -->\nb\n"
    assert build.renewed(page) == page.replace("old", "Not yet measured.")
    conditions.RESULTS.parent.mkdir()
    path = conditions.write("speed", [{"what": "a step", "ratio": 4}])
    conditions.write("speed-cuda", [{"what": "another", "ratio": 5}])
    shown = build.renewed(page)
    assert (
        f"`{path.stem}`:\n\n| what | ratio |\n| --- | --- |\n| a step | 4 |\n<!-- end" in shown
        and "another" not in shown
    )
    assert build.renewed(shown) == shown


def test_the_page_of_the_benchmarks_is_renewed(build: ModuleType) -> None:
    text = (FOLDER.parent / "docs" / "roofline.md").read_text(encoding="utf-8")
    assert len(build.MEASURED.findall(text)) == 7
    assert build.renewed(text) == text, "docs/roofline.md is out of date; run: make docs"
