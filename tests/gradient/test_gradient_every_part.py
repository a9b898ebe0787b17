"""Every part that a folder of `mimar.gradient` exports is named in its law suite: none gets in without its laws."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SUITES = {
    "relax": ("test_gradient_relaxations.py",),
    "mix": ("test_gradient_mix.py",),
    "regularise": ("test_gradient_terms_laws.py",),
    "hypergradient": ("test_gradient_parts.py", "test_gradient_tried.py", "test_gradient_updates.py"),
    "update": ("test_gradient_updates.py",),
    "schedule": ("test_gradient_schedules.py",),
    "derive": ("test_gradient_derivations.py", "test_gradient_best_path.py"),
}
DATA = {"Context", "View", "Moment", "Explanation", "Stop", "Rollback", "Phase", "Stage"}  # values, not parts


def parts(folder: str) -> set[str]:
    module = importlib.import_module(f"mimar.gradient.{folder}")
    exported = {name: getattr(module, name) for name in module.__all__}
    found = {n for n, v in exported.items() if isinstance(v, type) and dataclasses.is_dataclass(v)}
    return found - DATA


def called(path: Path) -> set[str]:
    """Return the names that a file calls."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


@pytest.mark.parametrize("folder", SUITES)
def test_every_part_is_in_its_suite(folder: str) -> None:
    made = set().union(*(called(HERE / name) for name in SUITES[folder]))
    assert parts(folder) and parts(folder) - made == set()


def test_there_is_a_suite_for_every_folder() -> None:
    import mimar.gradient

    folders = {p.parent.name for p in Path(mimar.gradient.__file__).parent.glob("*/__init__.py")}
    assert folders == set(SUITES)
