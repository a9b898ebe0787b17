"""How to make a run again: the command line, and the resolved search as a Python expression, both from run.json."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from mimar.report.reading import Run, items, mapping

PART, OPAQUE = "part", "digest"  # the words of mimar.core.describe
COMMON = {
    "epochs": ("schedule", "epochs"),
    "warmup": ("schedule", "warmup"),
    "batch": ("batch",),
    "lr": ("inner", "lr"),
    "decay": ("terms", "WeightDecay", "rate"),
    "alpha_lr": ("outer", "lr"),
    "alpha_decay": ("terms", "AlphaDecay", "rate"),
    "travel": ("outer", "travel"),
}
SERIES = ("terms", "step", "batches", "damping", "curvature")
KEYS = {  # recipe: keyword → where its value stands in the resolved tree; other recipes are shown as Python alone
    "darts-1st": COMMON,
    "darts-2nd": {"mixed": ("hypergradient", "mixed")} | COMMON,
    "idarts": {k: ("hypergradient", k) for k in SERIES} | {"inner_steps": ("schedule", "inner_steps")} | COMMON,
}


def opaque(tree: Any) -> bool:
    """Tell whether the tree holds a user's own object, of which the folder has the digest alone."""
    if isinstance(tree, dict):
        return OPAQUE in tree or any(map(opaque, tree.values()))
    return isinstance(tree, list) and any(map(opaque, tree))


def command(run: Run) -> str:
    """Return the command line of a run, "" where its recipe's options or its objects have no words there."""
    stored = run.header.get("command")
    if isinstance(stored, str) and stored:
        return stored
    if stored and all(isinstance(word, str) for word in items(stored)):
        return shlex.join(stored)
    tree = mapping(run.header.get("tree"))
    places = KEYS.get(run.text("recipe"))
    if places is None or opaque(tree) or isinstance(tree.get("task"), dict | list):
        return ""
    words = ["mimar", "search", run.text("recipe")]
    for key, place in places.items():
        value = _at(tree, place)
        if isinstance(value, bool | int | float | str):
            words.append(f"{key}={_word(value)}")
    words += [f"retrain.{key}={_word(value)}" for key, value in _flat(mapping(tree.get("retrain")))]
    words += ["--task", run.text("task") if tree.get("task") is None else str(tree["task"]), "--seed", run.text("seed")]
    for flag in ("net", "device", "baseline"):
        if tree.get(flag) is not None:
            words += [f"--{flag}", str(tree[flag])]
    return shlex.join([*words, "--out", "runs/again"])


def _at(tree: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        if isinstance(tree, list):  # the terms of the losses, by their class
            tree = next((t for t in tree if str(mapping(t).get(PART)).endswith(f".{key}")), None)
        else:
            tree = mapping(tree).get(key)
    return tree


def _flat(tree: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += _flat(value, f"{before}{key}.")
        elif key != PART and isinstance(value, bool | int | float | str):
            found.append((before + key, value))
    return found


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def rebuilt(run: Run) -> str:
    """Return the Python that makes the very same search again from the folder."""
    if opaque(run.header.get("tree")):
        return (
            "# this search was made with your own module, arrays or function, of which the folder has the digest alone:\n"
            "# make it again by the same call, and .run(folder, resume=True) checks that nothing differs"
        )
    name = json.dumps(f"{run.folder.name or '.'}/run.json", ensure_ascii=False)
    return (
        "import json\n"
        "from mimar.core.describe import rebuild\n\n"
        f"header = json.load(open({name}))\n"
        'result = rebuild(header["tree"]).run("runs/again")'
    )


def expression(run: Run) -> str:
    """Return the resolved search as Python: imports, and one expression with every option written out."""
    tree = run.header.get("tree")
    if not isinstance(tree, dict) or PART not in tree:
        return ""
    imports: set[str] = set()
    text = _written(tree, imports, "")
    return "\n".join([*sorted(imports), "", f"search = {text}"])


def _written(tree: Any, imports: set[str], indent: str) -> str:
    deeper = indent + "    "
    if isinstance(tree, list):
        inside = [_written(v, imports, deeper) for v in tree]
        return "(" + ", ".join(inside) + ("," if len(inside) == 1 else "") + ")"
    if not isinstance(tree, dict):
        return repr(tree)
    if OPAQUE in tree:
        return f"...  # your own {tree.get('kind', 'object')}, digest {tree[OPAQUE]}".replace("\n", " ")
    if isinstance(tree.get("float"), str) and len(tree) == 1:
        return f"float({tree['float']!r})"
    module, _, name = str(tree.get(PART, "")).rpartition(".")
    if not re.fullmatch(r"[\w.]+", module) or not name.isidentifier():
        return "{" + ", ".join(f"{k!r}: {_written(v, imports, deeper)}" for k, v in tree.items()) + "}"
    imports.add(f"from {module} import {name}")
    fields = [(k, _written(v, imports, deeper)) for k, v in tree.items() if k != PART]
    flat = f"{name}({', '.join(f'{k}={v}' for k, v in fields)})"
    if len(indent + flat) <= 100 and "\n" not in flat and "#" not in flat:
        return flat
    return f"{name}(\n" + "".join(f"{deeper}{k}={_comma(v)}\n" for k, v in fields) + f"{indent})"


def _comma(text: str) -> str:
    before, mark, after = text.partition("  #")
    return f"{before},{mark}{after}" if mark and "\n" not in text else f"{text},"
