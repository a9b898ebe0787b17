"""How to make a run again: the command line, and the resolved search as a Python expression, both from run.json."""

from __future__ import annotations

import re
import shlex
from typing import Any

from mimar.report.reading import Run, mapping

# keyword of a recipe → where its value stands in the resolved tree; recipes that are not here are shown as Python alone
_WEIGHTS = {"epochs": "schedule.epochs", "batch": "batch", "lr": "inner.lr", "decay": "terms.WeightDecay.rate"}
_ALPHAS = {"alpha_lr": "outer.lr", "alpha_decay": "terms.AlphaDecay.rate", "travel": "outer.travel"}
_DARTS = _WEIGHTS | _ALPHAS | {"warmup": "schedule.warmup"}
_SERIES = {key: f"hypergradient.{key}" for key in ("terms", "step", "batches", "damping", "curvature")}
_KEYWORDS = {
    "darts-1st": _DARTS,
    "darts-2nd": _DARTS | {"mixed": "hypergradient.mixed"},
    "idarts": _SERIES | {"inner_steps": "schedule.inner_steps"} | _DARTS,
    "random": {"networks": "networks"},
    "random-ws": {"candidates": "candidates"} | _WEIGHTS,
}
OWN = """# this search holds a module, arrays or a function of your own, which its folder does not contain:
# make it again by the same call; .run(folder, resume=True) continues it where nothing differs"""


def opaque(tree: Any) -> bool:
    """Tell whether the tree holds a user's own object, of which the folder has the digest alone."""
    inside = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return isinstance(tree, dict) and "digest" in tree or any(map(opaque, inside))


def command(run: Run) -> str:
    """Return the command line of a run, "" where its recipe's options or its objects have no words there."""
    tree, recipe = mapping(run.header.get("tree")), run.text("recipe")
    if recipe not in _KEYWORDS or opaque(tree) or isinstance(tree.get("task"), dict | list):
        return ""
    flat = _flat(tree, "")
    found = {key: flat.get(place) for key, place in _KEYWORDS[recipe].items()}
    found |= {key: value for key, value in flat.items() if key.startswith("retrain.")}
    words = [f"{key}={str(v).lower() if isinstance(v, bool) else v}" for key, v in found.items() if v is not None]
    given = {k: tree[k] for k in ("task", "net", "seed", "device", "baseline") if tree.get(k) is not None}
    flags = {"task": run.text("task"), "seed": run.text("seed")} | given | {"out": "runs/again"}
    lines = [shlex.join([f"--{k}", str(v)]) for k, v in flags.items()]
    return " \\\n    ".join([shlex.join(["mimar", "search", recipe, *words]), *lines])


def _flat(tree: dict[str, Any], before: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, list):  # the terms of the losses, by their class
            value = {str(mapping(v).get("part")).rpartition(".")[2]: v for v in value}
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{key}.")
        elif key != "part" and value is not None:
            found[before + key] = value
    return found


def python(run: Run) -> str:
    """Return the resolved search as Python: imports, one expression with every option written out, and its run."""
    tree, imports = mapping(run.header.get("tree")), set[str]()
    if opaque(tree) or "part" not in tree:
        return OWN
    text = _written(tree, imports, "\n")
    return "\n".join([*sorted(imports), "", f"search = {text}", 'result = search.run("runs/again")'])


def _written(tree: Any, imports: set[str], line: str) -> str:
    if isinstance(tree, list):
        return "(" + "".join(f"{_written(v, imports, line)}, " for v in tree).removesuffix(" ") + ")"
    if not isinstance(tree, dict):
        return repr(tree)
    module, _, name = str(tree.get("part", "")).rpartition(".")
    if not re.fullmatch(r"mimar[\w.]+", module) or not all(map(str.isidentifier, [name, *tree])):
        return repr(tree)  # a stranger's file: still a value, never code
    imports.add(f"from {module} import {name}")
    fields = [f"{k}={_written(v, imports, line + '    ')}" for k, v in tree.items() if k != "part"]
    flat = f"{name}({', '.join(fields)})"
    return flat if len(flat) < 90 and "\n" not in flat else f"{name}({line}    {f',{line}    '.join(fields)},{line})"
