"""How to make a run again: the command line, and the resolved search as a Python expression, both from run.json."""

from __future__ import annotations

import re
from typing import Any

from mimar.report.reading import Run, mapping

OWN = """# this search holds a module, arrays or a function of your own, which its folder does not contain:
# make it again by the same call; .run(folder, resume=True) continues it where nothing differs"""


def opaque(tree: Any) -> bool:
    """Tell whether the tree holds a user's own object, of which the folder has the digest alone."""
    inside = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return isinstance(tree, dict) and "digest" in tree or any(map(opaque, inside))


def command(run: Run) -> str:
    """Return the command line that a run was made by, with a new folder; "" where it was made from Python."""
    words = run.text("command")
    if not words.startswith("mimar search "):
        return ""
    return " \\\n    --".join(f"{words} --out runs/again".split(" --"))


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
