"""The house rules that a machine can check: import budget, rooms, line budgets, recipes, words that must not occur."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import mimar

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mimar"
BUDGET = {  # lines of all files of a room together; raised ones: docs/decisions.md
    "core": 1200,
    "kernels": 1900,
    "space": 4300,
    "runs": 1050,
    "nets": 4000,
    "supernet": 1800,
    "tasks": 2500,
    "objectives": 900,
    "predictors": 2200,
    "gradient": 5000,
    "strategies": 4800,
    "evaluators": 4500,
    "schedulers": 900,
    "search": 4500,
    "report": 2700,
    "study": 3900,
    "cli": 1500,
    "testing": 2000,
}
ROOMS = {*BUDGET, "recipes"}
TORCH_BRINGS = {"torch", "functorch", "torchgen", "numpy", "sympy", "mpmath", "networkx", "jinja2", "markupsafe"}
TORCH_BRINGS |= {"filelock", "fsspec", "typing_extensions", "setuptools", "_distutils_hack", "pkg_resources"}
HEAVY = {"report", "study"}  # the only public rooms that may load more than torch: they draw and compute statistics


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it printed last."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def imported(statement: str, before: str) -> set[str]:
    """Return the top-level packages outside the standard library that `statement` loads after `before`."""
    code = f"import json, sys\n{before}\nold = set(sys.modules)\n{statement}\nprint(json.dumps(list(set(sys.modules) - old)))"
    packages = {name.partition(".")[0] for name in json.loads(python(code))}
    return packages - set(sys.stdlib_module_names) - {"mimar"}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every file that people wrote."""
    folders = ("mimar", "tests", "docs", "examples", "benchmarks", "evidence", ".ci")
    kinds = {".py", ".md", ".toml", ".txt", ".json", ".csv", ".cpp", ".c", ".h", ".css", ".html", ".ini", ".cfg", ""}
    inside = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in sorted([*ROOT.iterdir(), *inside]):
        if path.is_file() and path.suffix in kinds and "__pycache__" not in path.parts and path.name != ".git":
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def trees(*folders: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield a place (file:line) and the node for every node of every syntax tree in the folders."""
    for path in sources(*folders):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


# --- what an import costs -----------------------------------------------------------------------------------------


def test_import_loads_nothing_but_the_standard_library() -> None:
    assert imported("import mimar", before="") == set()


def test_public_names_load_nothing_heavier_than_torch() -> None:
    names = [name for name in mimar.__all__ if name not in HEAVY]
    statement = "import mimar\n" + "\n".join(f"mimar.{name}" for name in names)
    assert imported(statement, before="import torch") - TORCH_BRINGS - {"safetensors"} == set()


def test_the_import_budget_can_fail() -> None:
    assert "matplotlib" in imported("import matplotlib.figure", before="import torch")


def test_public_names_are_there_and_listed() -> None:
    for name in mimar.__all__:
        assert getattr(mimar, name) is not None
        assert name in dir(mimar)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mimar.nonsense  # noqa: B018


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nsys.argv = ['mimar', '--help']\nfrom mimar.cli import main\n"
        "try:\n    code = main()\nexcept SystemExit as end:\n    code = end.code\n"
        "print(code or 0, 'torch' in sys.modules)"
    )
    assert python(code) == "0 False"


def test_help_answers_in_half_a_second() -> None:
    program = Path(sys.executable).parent / "mimar"

    def seconds() -> float:
        """Processor time of one call: the wall time of an idle machine, however busy this one is with other tests."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([program, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


# --- rooms and budgets --------------------------------------------------------------------------------------------


def test_rooms_are_those_of_the_plan() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == ROOMS
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_room_says_what_it_is(room: str) -> None:
    assert ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8")))


@pytest.mark.parametrize("room", sorted(BUDGET))
def test_room_keeps_its_budget(room: str) -> None:
    total = sum(lines(path) for path in (PACKAGE / room).rglob("*.py"))
    assert 0 < total <= BUDGET[room]


def test_files_are_short() -> None:
    assert [f"{path.relative_to(ROOT)}: {lines(path)}" for path in sources("mimar", "tests") if lines(path) > 600] == []
    assert lines(PACKAGE / "__init__.py") <= 80


def test_version_is_said_once_and_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == mimar.__version__


def test_dependencies_have_lower_bounds_and_every_one_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["images"], *extras["mnist1d"]]
    wanted = [one for one in wanted if not one.startswith("mimar[")]
    assert all(">=" in one and "<" not in one for one in wanted)
    pinned = [line.partition("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()]
    pins = {name.lower(): version for name, _, version in pinned if version}
    assert {one.partition(">=")[0] for one in wanted} <= set(pins)
    assert pins["torch"] == "2.13.0"


# --- recipes ------------------------------------------------------------------------------------------------------


def recipe_faults(text: str) -> list[str]:
    """Return what keeps a file from being a recipe: one docstring, constants, and functions of a single return."""
    tree = ast.parse(text)
    faults = [] if ast.get_docstring(tree) else ["no docstring"]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if "recipe" not in [function.name for function in functions]:
        faults.append("no function called recipe")
    for function in functions:
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if function.name.split("_")[0] != "recipe" or len(body) != 1 or not isinstance(body[0], ast.Return):
            faults.append(f"{function.name} is not a recipe whose body is one return")
    constants = {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    constants |= {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    faults += [f"no {name}" for name in ("PAPER", "DIFFERS", "TIER") if name not in constants]
    banned = (ast.ClassDef, ast.For, ast.While, ast.If, ast.Try, ast.With, ast.AsyncFunctionDef)
    faults += [f"line {node.lineno}: a statement" for node in ast.walk(tree) if isinstance(node, banned)]
    return faults + ([] if len(text.splitlines()) <= 80 else ["more than 80 lines"])


def test_recipes_are_expressions() -> None:
    files = [path for path in sources("mimar/recipes") if path.name != "__init__.py"]
    assert not files or len(files) >= 5
    assert {path.name: faults for path in files if (faults := recipe_faults(path.read_text(encoding="utf-8")))} == {}


def test_the_recipe_rule_can_fail() -> None:
    good = '"""Doc."""\nPAPER = 1\nDIFFERS = ()\nTIER = "smoke"\n\n\ndef recipe(*, seed: int = 0):\n    return seed\n'
    assert recipe_faults(good) == []
    assert recipe_faults(good.replace("    return", "    x = 1\n    return")) == [
        "recipe is not a recipe whose body is one return"
    ]
    assert recipe_faults(good + "\n" * 80) == ["more than 80 lines"]
    assert recipe_faults(good.replace("TIER", "OTHER")) == ["no TIER"]
    assert recipe_faults(good + "for x in ():\n    pass\n") == ["line 9: a statement"]


def named(tree: ast.AST) -> Iterator[str]:
    """Yield identifiers and texts of a syntax tree, docstrings apart: there a source may be named."""
    told = {
        id(n.body[0].value)
        for n in ast.walk(tree)
        if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef) and n.body and isinstance(n.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def test_no_method_is_named_in_loops_nets_and_supernets() -> None:
    from mimar import recipes

    names = [n for n in recipes.names() if n not in ("random", "reinforce")]  # a plain word, and an estimator
    words = {form for n in names for form in (n, n.replace("-", "_"), n.replace("-", ""))}
    found = {}
    for path in sources("mimar/search", "mimar/nets", "mimar/supernet", "mimar/gradient"):
        here = {w for w in named(ast.parse(path.read_text(encoding="utf-8"))) if w.lower() in words}
        if here:
            found[str(path.relative_to(ROOT))] = here
    assert found == {}


def test_the_rule_on_names_can_fail() -> None:
    assert "gdas" in set(named(ast.parse('"""gdas."""\nif kind == "gdas":\n    pass')))
    assert "gdas" not in set(named(ast.parse('"""gdas."""\nx = 1')))


# --- words and calls that must not occur --------------------------------------------------------------------------

# Written with a bar inside, so that this file does not contain them.
MACHINE = ("/w|ork/", "/r|oot/", "/h|ome/", "/f|arm/", "/U|sers/", "/.librar|y", "sub|agent")
REGISTRIES = ("py|pi.org", "python|hosted", "registry.n|pmjs", "deb.d|ebian.org")
STUBS = ("TO|DO", "FIX|ME")
WORDS = [word.replace("|", "") for word in (*MACHINE, *REGISTRIES, *STUBS)]


@pytest.mark.parametrize("word", WORDS)
def test_word_occurs_nowhere(word: str) -> None:
    assert [name for name, text in texts() if word in text] == []


def test_errors_are_not_swallowed() -> None:
    bare = [place for place, node in trees("mimar", "tests") if isinstance(node, ast.ExceptHandler) and not node.type]
    assert bare == []


def test_text_is_never_executed() -> None:
    calls = [(p, n.func.id) for p, n in trees("mimar") if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert [call for call in calls if call[1] in {"eval", "exec", "compile", "__import__"}] == []


def test_global_state_of_torch_and_numpy_is_left_alone() -> None:
    banned = {"torch.manual_seed", "torch.seed", "torch.set_default_dtype", "torch.set_default_device"}
    banned |= {"np.random.seed", "numpy.random.seed", "random.seed", "torch.cuda.manual_seed_all"}
    uses = [(place, ast.unparse(node)) for place, node in trees("mimar") if isinstance(node, ast.Attribute)]
    assert [use for use in uses if use[1] in banned] == []


def test_packages_that_break_beside_torch_are_not_imported() -> None:
    names = [
        (place, alias.name) for place, n in trees("mimar", "tests") if isinstance(n, ast.Import) for alias in n.names
    ]
    names += [(place, n.module or "") for place, n in trees("mimar", "tests") if isinstance(n, ast.ImportFrom)]
    assert [name for name in names if name[1].partition(".")[0] in {"torchvision", "torchaudio", "timm"}] == []


# --- the tests' own machinery -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strict", "failed", "skipped"), [("0", 0, 3), ("1", 2, 1)])
def test_skip_for_data_that_is_there_fails_in_strict_mode(
    tmp_path: Path, strict: str, failed: int, skipped: int
) -> None:
    (tmp_path / "data" / "nas").mkdir(parents=True)
    (tmp_path / "data" / "nas" / "table.npz").write_bytes(b"")
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_found(needs_data):\n    assert needs_data('nas/table.npz').exists()\n"
        "def test_absent(needs_data):\n    needs_data('nas/other.npz')\n"
        "def test_lazy():\n    pytest.skip('table.npz is too large for me')\n"
        "def test_wrong():\n    pytest.skip('data absent: nas/table.npz')\n"
    )
    env = {**os.environ, "MIMAR_DATA": str(tmp_path / "data"), "MIMAR_STRICT_DATA": strict}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-o", "addopts="]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    summary = done.stdout.splitlines()[-1]
    assert (done.returncode == 1) == bool(failed), done.stdout
    assert "1 passed" in summary and f"{skipped} skipped" in summary and (not failed or f"{failed} failed" in summary)
    assert "nas/other.npz: 1 test skipped" in done.stdout


def test_generated_parts_are_renewed_and_broken_links_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    monkeypatch.setattr(build, "output", lambda command: f"printed by {command}")
    page = "a\n<!-- output of: mimar --help -->\nold\n<!-- end of output -->\nb\n"
    new = build.renewed(page)
    assert new == page.replace("old\n", "```text\nprinted by mimar --help\n```\n")
    assert build.renewed(new) == new
    (tmp_path / "there.md").write_text("")
    text = "[a](there.md#part) [b](gone.md) [c](https://example.org) `[d](code.md)` [e](#here)"
    assert build.broken_links(tmp_path / "page.md", text) == ["gone.md"]
