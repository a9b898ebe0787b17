"""What a report says about making a run again makes that run again."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import Any

import pytest
from report_folders import events, header, make
from torch import nn

from mimar import OneOf, report, space
from mimar.core.describe import describe, digest
from mimar.report.reading import Run, load
from mimar.report.reproduce import command, python

NB201 = space.nasbench201()
RECIPES: list[tuple[str, dict[str, Any]]] = [
    ("idarts", {"epochs": 7, "terms": 3, "step": "auto", "batches": "fresh", "inner_steps": 2, "alpha_decay": 0.5}),
    ("idarts", {"net": "nasbench201:cells=1,channels=4", "task": "mnist1d", "seed": 11, "baseline": 2}),
    ("darts-1st", {"lr": 0.5, "decay": 0.0, "warmup": 1}),
    ("darts-2nd", {"mixed": "difference", "batch": 8, "travel": 0.0}),
    ("random", {"queries": 5}),
    ("random-ws", {"candidates": 9, "epochs": 3, "seed": 2}),
]


def search(name: str, **given: Any) -> Any:
    return importlib.import_module(f"mimar.recipes.{name.replace('-', '_')}").recipe(**given)


def written(folder: Path, made: Any, line: str = "") -> Run:
    tree = describe(made)
    head = header(NB201, recipe=made.name, seed=made.seed, task="digits", tree=tree, hash=digest(tree), command=line)
    return load(make(folder, events(NB201), head))


@pytest.mark.parametrize(("name", "given"), RECIPES)
def test_the_python_expression_is_the_search(tmp_path: Path, name: str, given: dict[str, Any]) -> None:
    run = written(tmp_path / "r", search(name, **given))
    found: dict[str, Any] = {}
    exec(python(run).rpartition("\n")[0], found)  # noqa: S102 (without the line that runs it)
    assert digest(describe(found["search"])) == run.header["hash"]
    assert python(run).endswith('\nresult = search.run("runs/again")')


def test_the_command_line_is_the_one_that_was_given(tmp_path: Path) -> None:
    line = "mimar search idarts terms=3 'retrain.net=s2:cells=3' --task digits:limit=200 --seed 4"
    shown = command(written(tmp_path / "r", search("idarts"), line))
    words = shlex.split(shown.replace("\\\n", " "))
    assert words == [*shlex.split(line), "--out", "runs/again"]
    assert len(shown.splitlines()) == 4
    page = report.write([tmp_path / "r"]).read_text()
    assert "terms=3" in page


@pytest.mark.parametrize("line", ["", "rm -rf /", "mimar resume x"])
def test_made_from_python_or_by_a_stranger_there_is_none(tmp_path: Path, line: str) -> None:
    assert command(written(tmp_path / "r", search("idarts"), line)) == ""


def test_a_module_of_ones_own_is_told(tmp_path: Path) -> None:
    net = nn.Sequential(OneOf({"a": nn.Identity(), "b": nn.ReLU()}, name="body"))
    run = written(tmp_path / "r", search("idarts", net=net))
    assert command(run) == "" and python(run).startswith("# this search holds a module, arrays or a function")
    assert "resume=True" in report.write([tmp_path / "r"]).read_text()


@pytest.mark.parametrize(
    "tree",
    [
        {"part": "os.system", "command": "x"},
        {"part": "mimar.x;import os.X"},
        {"part": "mimar.search.Bilevel", "a=1);evil(": 1},
        {"part": "mimar.search.bilevel.Bilevel", "name": {"part": "builtins.exec"}},
    ],
    ids=str,
)
def test_a_strangers_tree_becomes_no_code(tmp_path: Path, tree: dict[str, Any]) -> None:
    run = load(make(tmp_path / "r", [], header(NB201, recipe="x", tree=tree, command="rm x")))
    text = python(run)
    assert "import os" not in text.splitlines() and "from os" not in text and "from builtins" not in text
    assert "evil(" not in text.replace(repr("a=1);evil("), "") and command(run) == ""
