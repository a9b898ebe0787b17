"""One paper a file, each a single expression of parts; the folder is the list of recipes."""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mimar.core.errors import UsageError, nearest

__all__ = ["about", "file_of", "load", "names", "variants"]

Recipe = Callable[..., Any]


def names() -> tuple[str, ...]:
    """Return the names of all recipes, read from the folder: nothing is imported."""
    return tuple(sorted(path.stem.replace("_", "-") for path in _folder().glob("[!_]*.py")))


def variants(name: str) -> tuple[str, ...]:
    """Return the variants of a recipe: "es" for its function `recipe_es`. Nothing is imported."""
    functions = [node.name for node in _tree(file_of(name)).body if isinstance(node, ast.FunctionDef)]
    return tuple(f.removeprefix("recipe_").replace("_", "-") for f in functions if f.startswith("recipe_"))


def about(name: str) -> str:
    """Return what a recipe is: the first line of its docstring. Nothing is imported."""
    return (ast.get_docstring(_tree(file_of(name))) or "").partition("\n")[0]


def file_of(name: str) -> Path:
    """Return the file of the recipe called `name` or `name:variant`; raises UsageError naming the nearest."""
    word = name.partition(":")[0].strip().lower().replace("_", "-")
    if word not in names():
        raise UsageError(nearest(word, names(), kind="recipe"))
    return _folder() / f"{word.replace('-', '_')}.py"


def load(name: str) -> tuple[ModuleType, Recipe]:
    """Return the module and the function of the recipe `name` or `name:variant`; raises UsageError naming the nearest."""
    module = importlib.import_module(f"{__name__}.{file_of(name).stem}")
    variant = name.partition(":")[2].strip().lower().replace("_", "-")
    if not variant:
        return module, module.recipe
    known = variants(name)
    if variant not in known:
        raise UsageError(nearest(variant, known, kind=f"variant of {name.partition(':')[0]}"))
    return module, getattr(module, f"recipe_{variant.replace('-', '_')}")


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_") or not (_folder() / f"{name}.py").exists():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def _folder() -> Path:
    return Path(__file__).parent


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
