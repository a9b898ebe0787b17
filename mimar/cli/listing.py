"""What there is and what this machine has, as text; lists are read from files, without importing what they list."""

from __future__ import annotations

import ast
import inspect
import json as text_of
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import typer

import mimar
from mimar import recipes
from mimar.core.errors import MimarError, UsageError, nearest
from mimar.core.units import count

Pairs = dict[str, str]


def of(kind: str) -> Pairs:
    """Return name → what it is, for recipes, tasks, nets, schedulers, proxies or parts."""
    if kind not in KINDS:
        raise UsageError(nearest(kind, KINDS, kind="list"))
    found: Pairs = KINDS[kind]()
    return found


def show_pairs(pairs: Pairs, *, json: bool) -> None:
    """Print names with what they are, or one JSON object."""
    width = max(map(len, pairs), default=0) + 2
    lines = [f"{name:{width}}{text}".rstrip() for name, text in pairs.items()]
    typer.echo(text_of.dumps(pairs) if json else "\n".join(lines))


def _recipes() -> Pairs:
    names = [n for name in recipes.names() for n in (name, *(f"{name}:{v}" for v in recipes.variants(name)))]
    return {name: recipes.about(name) for name in names}


def _tasks() -> Pairs:
    from mimar.tasks import naming

    return {name: naming.about(name) for name in (*naming.names(), *naming.tables())}


def _nets() -> Pairs:
    from mimar import nets

    made = {name: getattr(nets, name.replace("-", "_"), None) for name in nets.names()}
    return {name: (inspect.getdoc(net) or "").partition("\n")[0] for name, net in made.items()}


def _parts() -> Pairs:
    """Return every class with a results-version, by its place in the package."""
    found: Pairs = {}
    root = Path(mimar.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(_is_version(line) for line in node.body):
                room = ".".join(path.relative_to(root).parent.parts)
                found[f"{room}.{node.name}"] = (ast.get_docstring(node) or "").partition("\n")[0]
    return found


def _is_version(line: ast.stmt) -> bool:
    return isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id == "version"


def _schedulers() -> Pairs:
    from mimar.schedulers import naming

    return {name: (inspect.getdoc(part) or "").partition("\n")[0] for name, part in naming.SCHEDULERS.items()}


def _proxies() -> Pairs:
    from mimar.evaluators.proxies import naming

    return {name: (inspect.getdoc(part) or "").partition("\n")[0] for name, part in naming.PROXIES.items()}


KINDS = {
    "recipes": _recipes,
    "tasks": _tasks,
    "nets": _nets,
    "schedulers": _schedulers,
    "proxies": _proxies,
    "parts": _parts,
}


def recipe(name: str, words: list[str]) -> str:
    """Return the page of a recipe: text, paper, deviations, tier, options, and the tree that they resolve to."""
    from mimar.cli.options import options, parse
    from mimar.core.describe import describe, digest

    module, function = recipes.load(name)
    tree, paper = describe(function(**parse(words, function))), module.PAPER
    parts = [
        f"{name}: {inspect.getdoc(module)}",
        f"paper: {paper.authors} ({paper.year}). {paper.title}. {paper.venue}. {paper.link}".rstrip(),
        "\n".join(["differs from the paper:", *(f"  * {text}" for text in module.DIFFERS)] if module.DIFFERS else []),
        f"shown here so far: {module.TIER}",
        "\n".join(["options:", *(f"  {option}" for option in options(function))]),
        "\n".join([f"resolves to (hash {digest(tree)} at the default flags):", *_branch(tree, 1)]),
    ]
    return "\n\n".join(filter(None, parts))


def _branch(tree: Any, depth: int, name: str = "") -> list[str]:
    """Return a tree of parts, one line a field."""
    start = "  " * depth + (f"{name}: " if name else "")
    if isinstance(tree, list) and any(isinstance(value, dict) for value in tree):
        return [line for value in tree for line in _branch(value, depth, name)]
    if not isinstance(tree, dict):
        return [f"{start}{'none' if tree is None else tree}"]
    inside = [line for key, value in tree.items() if key != "part" for line in _branch(value, depth + 1, key)]
    return [start + str(tree.get("part", "")).rpartition(".")[2], *inside]


def doctor() -> Pairs:
    """Return what this machine has, by name."""
    import torch

    from mimar.tasks import naming

    page = os.sysconf("SC_PAGE_SIZE")
    total, free = (page * os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    cuda = torch.cuda.is_available()
    found = {"mimar": mimar.__version__, "python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in ("torch", "numpy", "scipy", "scikit-learn", "safetensors", "matplotlib", "typer", "rich", "onnx"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["threads"] = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    found["device"] = f"cuda: {torch.cuda.get_device_name()}" if cuda else "cpu (torch finds no CUDA device)"
    found["instructions"] = torch.backends.cpu.get_cpu_capability()
    found["memory"] = f"{count(total)}B, {count(free)}B free"
    found |= _kernels()
    return found | {
        f"data {name}": naming.info(name).partition(": ")[2] or naming.info(name)
        for name in (*naming.names(), *naming.tables())
    }


def _kernels() -> Pairs:
    """Say which kernels serve, and what decides between them and torch's."""
    from importlib.util import find_spec

    from mimar.kernels import native, table

    kind = native.described()
    try:
        held = table.current()
        which = f"{'shipped' if held.path == table.SHIPPED else held.path}, digest {held.digest}"
    except MimarError as error:
        which = str(error)
    return {
        "compiled kernels": "not built, pure torch" if kind == "torch" else kind,
        "kernel table": which,
        "triton": "installed" if find_spec("triton") else "not installed; it serves on CUDA only",
    }
