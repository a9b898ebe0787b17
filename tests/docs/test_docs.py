"""The pages are true: their Python runs and gives what they say, their commands exist, their tables match the code."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer

from mimar import nets, recipes, tasks
from mimar.cli import comparing, listing, options
from mimar.cli.app import app
from mimar.core.errors import MimarError
from mimar.core.events import Record
from mimar.evaluators import benchmarks
from mimar.study import claims
from mimar.study.evidence import beats_random, identity

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
RESULT = re.compile(r"  # → (?P<wanted>.+)$")
NOT_RUN = 0  # python blocks that may not be run, on all pages together


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *kinds: str) -> Iterator[tuple[bool, str]]:
    """Yield (is it to be run, text) of the fenced blocks of these kinds."""
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found[2] in kinds:
            yield found[1] is None, found[3]


# --- Python -------------------------------------------------------------------------------------------------------


def execute(text: str, place: str, namespace: dict[str, Any]) -> int:
    """Run a block; compare what a line ending in `# → result` gives with it ("…" stands for anything); count these."""
    lines, compared = text.splitlines(), 0
    for node in ast.parse(text).body:
        told = RESULT.search(lines[(node.end_lineno or node.lineno) - 1])
        if not (isinstance(node, ast.Expr) and told):
            exec(compile(ast.Module([node], []), place, "exec"), namespace)  # noqa: S102
            continue
        found = repr(eval(compile(ast.Expression(node.value), place, "eval"), namespace))
        pattern = ".*".join(map(re.escape, told["wanted"].split("…")))
        assert re.fullmatch(pattern, found, re.DOTALL), f"{place}: {lines[node.lineno - 1]}\ngives {found}"
        compared += 1
    return compared


@pytest.mark.parametrize("page", [p for p in PAGES if any(blocks(p, "python"))], ids=name)
def test_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    module = ModuleType("page")  # dataclasses look for the module of their class
    monkeypatch.setitem(sys.modules, "page", module)
    try:
        for run, text in blocks(page, "python"):
            if run:
                execute(text, name(page), module.__dict__)
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)


def test_results_are_compared() -> None:
    assert execute("x = 2\nx + 1  # → 3\n'a long text'  # → 'a … text'\n", "here", {}) == 2
    with pytest.raises(AssertionError, match="gives 3"):
        execute("1 + 2  # → 4\n", "here", {})


def test_few_blocks_are_not_run() -> None:
    assert sum(not run for page in PAGES for run, _ in blocks(page, "python")) == NOT_RUN


def test_readme_shows_the_library_in_ten_lines() -> None:
    _, text = next(blocks(ROOT / "README.md", "python"))
    shown = [line for line in text.splitlines() if line.strip() and not line.startswith(("import", "from", "result."))]
    assert "OneOf" in text and "arrays" in text and len(shown) <= 10


# --- commands -----------------------------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of every `mimar …` command in the shell blocks of a page."""
    for _, text in blocks(page, "sh", "console"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0] == "mimar":
                yield words[1:]


def parse(words: list[str]) -> None:
    """Raise where a command does not exist or would refuse its words; runs nothing."""
    group = typer.main.get_command(app)
    command = group.commands.get(words[0]) if words and not words[0].startswith("-") else None
    assert command is not None, f"there is no command {words[0]!r}"
    given = command.make_context(words[0], words[1:]).params
    if words[0] == "compare" and benchmarks.is_benchmark(given["task"]):
        comparing.contest(given["words"], task=given["task"], net=None, seeds=8, device="cpu")
    if words[0] in ("search", "show"):
        _, function = recipes.load(given["recipe"])
        function(**options.parse(given["options"] or [], function))
    if words[0] == "search":
        if not benchmarks.is_benchmark(given["task"]):
            tasks.named(given["task"] or "digits")
        nets.named(given["net"] or "nasbench201:cells=1,channels=8", in_channels=1, classes=10)
    if words[0] == "retrain":
        options.changed(_retrain(), given["options"] or [])
    if words[0] == "list":
        listing.of(given["kind"])
    for one in given.get("recipes") or ():
        assert one in claims.CLAIMS, f"no check is fixed for {one!r}"
    if words[0] == "data" and given["name"]:
        tasks.about(given["name"])
    if words[0] == "cite":
        recipes.file_of(given["recipe"])


def _retrain() -> Any:
    return inspect.signature(recipes.load("idarts")[1]).parameters["retrain"].default


SHOWN = [pytest.param(words, id=f"{name(page)}: {' '.join(words)}"[:90]) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize("words", SHOWN)
def test_command_exists(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parse(words)


@pytest.mark.parametrize("line", ["find idarts", "search idart", "search idarts epoch=3", "search idarts epochs=0"])
def test_a_wrong_command_is_found(line: str) -> None:
    with pytest.raises((AssertionError, MimarError)):
        parse(line.split())


def test_make_targets_of_the_pages_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        t for page in PAGES for _, text in blocks(page, "sh") for t in re.findall(r"^make (\w+)", text, re.MULTILINE)
    }
    assert {"demo", "test"} <= named <= targets


# --- recipes ------------------------------------------------------------------------------------------------------


def part(text: str, heading: str) -> str:
    """Return the part of a page under `## heading`."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def listed(text: str) -> list[str]:
    """Return the first cells `key=value` of a table's rows; a bar in a cell is written with a backslash."""
    return [cell.replace("\\|", "|") for cell in re.findall(r"^\| `([\w.]+=[^`]*)` \|", text, re.MULTILINE)]


def test_every_recipe_has_a_page() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "recipes").glob("*.md")} - {"index"}
    assert pages == set(recipes.names())


@pytest.mark.parametrize("recipe", recipes.names())
def test_recipe_page_lists_what_the_recipe_has(recipe: str) -> None:
    text = (ROOT / "docs" / "recipes" / f"{recipe}.md").read_text(encoding="utf-8")
    common = (ROOT / "docs" / "recipes" / "index.md").read_text(encoding="utf-8")
    module, function = recipes.load(recipe)
    deviations = re.findall(r"^\d+\. (.+)$", part(text, "Deviations"), re.MULTILINE)
    assert deviations == list(module.DIFFERS)
    own, trials, retraining = (
        listed(part(*p)) for p in ((text, "Options"), (common, "Trials"), (common, "Retraining"))
    )
    said = [f"{o.name}={o.shown}" for o in options.options(function)]
    mentioned = [one for one in said if one.startswith("trials.")]
    if mentioned and not any(one.startswith("trials.") for one in own):  # else the page says where its own differ
        own = [*own, *trials]
    assert sorted([*own, *retraining]) == sorted(said)
    assert f"<!-- evidence: results {recipe} -->" in part(text, "Results")


def test_reserved_flags_are_listed() -> None:
    text = (ROOT / "docs" / "recipes" / "index.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \|", part(text, "Flags"), re.MULTILINE)) == options.RESERVED


def test_every_logged_field_is_explained() -> None:
    text = (ROOT / "docs" / "recipes" / "index.md").read_text(encoding="utf-8")
    explained = {
        w
        for cell in re.findall(r"^\| (`[^|]+) \|", part(text, "What is logged"), re.MULTILINE)
        for w in re.findall(r"`([\w.]+)`", cell)
    }
    logged: set[str] = set()
    for recipe, given in (("idarts", {"epochs": 1, "inner_steps": 1}), ("random-ws", {"epochs": 1, "candidates": 2})):
        search = recipes.load(recipe)[1](
            task="digits:limit=100", retrain=_retrain().__class__(epochs=1), baseline=1, **given
        )
        search.run(progress=lambda event: logged.update(_fields(event)))
    for recipe, given in (
        ("enas", {"epochs": 1, "candidates": 2, "queries": 2, "task": "digits:limit=100", "baseline": 0}),
        ("regularized-evolution", {"task": _table(), "queries": 6, "population": 3, "trials": _both()}),
    ):
        more = {"retrain": _retrain().__class__(epochs=1)} | given
        recipes.load(recipe)[1](**more).run(progress=lambda event: logged.update(_fields(event)))
    assert logged - explained == set()
    assert explained - logged <= {"name", "text", *SELDOM}  # of warnings and of trials, which may not occur


SELDOM = {"fidelity", "since", "repeated", "curve", "meta", "weights"}


def _table() -> Any:
    from mimar.evaluators.table import Table
    from mimar.space import Choice, Space

    space = Space([Choice("a", ("x", "y", "z")), Choice("b", ("x", "y", "z"))])
    values = [i / 10 for i in range(9)]
    return Table.from_arrays(
        space, {"valid_accuracy": values}, known={"params": range(9)}, final={"test_accuracy": values}
    )


def _both() -> Any:
    from mimar.search import Trials

    return Trials(objective=("valid_accuracy", "params"))


def _fields(event: Any) -> Iterator[str]:
    if not isinstance(event, Record):
        return
    for key, value in event.data.items():
        yield key
        if key in ("hyper", "metrics", "result"):
            yield from (f"{key}.{inner}" for inner in value)
        if key == "result":
            yield from (f"supernet.{inner}" for inner in value["supernet"])
            yield from (f"budget.{inner}" for inner in value["budget"])
            yield from (f"baseline.{inner}" for inner in value["baseline"]["random"])


# --- evidence -----------------------------------------------------------------------------------------------------


def systems() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_systems", ROOT / "docs" / "systems.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CELL = {"cell/0-1": "skip_connect", "cell/0-2": "none", "cell/1-2": "none", "cell/0-3": "nor_conv_3x3"}
CELL |= {"cell/1-3": "none", "cell/2-3": "none"}


def record(recipe: str) -> dict[str, Any]:
    """Return a record as `mimar.study.evidence` makes it, of made-up figures."""
    claim = claims.BeatsRandom("digits", {"epochs": 1})
    held = {"entropy_before": 1.0, "entropy_after": 0.5, "moved": True, "skips": 2}
    own = {
        "supernet": held,
        "seconds": 1.0,
        "architecture": CELL,
        "budget": {"search": 1.0, "retrain": 1.0, "baseline": 0.0},
    }
    ours = [{**own, "metrics": {"test_accuracy": 0.9 + s / 1000}} for s in claim.seeds]
    random = {"metrics": {"test_accuracy": 0.8, "valid_accuracy": 0.5}, "architecture": CELL}
    found = beats_random(claim, ours, [[random, random] for _ in claim.seeds])
    return {"recipe": recipe, **identity(recipe), "versions": {"mimar": "1", "torch": "2", "device": "d"}} | {
        "claims": [found]
    }


def test_table_has_a_row_for_every_recipe_and_claim(tmp_path: Path) -> None:
    module = systems()
    (tmp_path / "idarts.json").write_text(json.dumps(record("idarts")))
    found = module.text("systems", tmp_path).splitlines()
    assert len(found) == 2 + len(recipes.names())
    (row,) = [line for line in found if "idarts.md" in line]
    assert "| 90.35 ± 0.24 | 80.00 ± 0.00 |" in row and "holds (p = " in row and "changed" not in row
    assert all("not yet measured" in line for line in found[2:] if line != row)


def test_results_of_a_recipe_are_shown_and_an_old_record_is_said_to_be_old(tmp_path: Path) -> None:
    module, held = systems(), record("darts-2nd")
    assert "Not yet measured" in module.text("results darts-2nd", tmp_path)
    (tmp_path / "darts-2nd.json").write_text(json.dumps({**held, "hash": "0" * 16}))
    found = module.text("results darts-2nd", tmp_path)
    assert "Verdict: holds" in found and "1.00 → 0.50" in found and "the recipe has changed since" in found
    with pytest.raises(ValueError, match="no evidence called 'results nothing'"):
        module.text("results nothing", tmp_path)


def test_cosines_are_shown(tmp_path: Path) -> None:
    module, means = systems(), {"first order": {"30 steps": 0.5}}
    claim = {
        "claim": "a claim",
        "means": means,
        "measured": [{"references": ["30 steps"]}],
        "verdict": "holds",
        "why": "w",
    }
    (tmp_path / "idarts.json").write_text(json.dumps({**record("idarts"), "claims": [claim]}))
    assert "| first order | 0.5000 |" in module.text("results idarts", tmp_path)
    assert "| a claim | – | – | – | – | holds (w) |" in module.text("systems", tmp_path)


def test_pages_are_renewed() -> None:
    module = systems()
    for page in PAGES:
        for found in re.finditer(
            r"<!-- evidence: (.*?) -->\n(.*?)\n<!-- end", page.read_text(encoding="utf-8"), re.DOTALL
        ):
            assert found[2] == module.text(found[1]), f"{name(page)} is out of date; run: make docs"
