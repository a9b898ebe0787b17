"""A part as JSON and back: the identity of a run is the digest of its resolved tree of frozen dataclasses.

Only dataclasses of the package `mimar` are rebuilt, by name and by their fields, so that opening somebody else's run
cannot execute anything else. What has no JSON form (a user's own module or array) is described by its digest and cannot
be rebuilt: such a search continues only from Python.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
from typing import Any

import torch

from mimar.core.errors import RunError

JSON = Any
PART = "part"
OPAQUE = "digest"
LATER = "later"  # metadata of a field that came after records were written: left out of a description at its default
NEUTRAL = "neutral"  # metadata of a field that changes no result, only how it is computed: no part of a run's identity


def digest(value: JSON, length: int = 16) -> str:
    """Return the first `length` hex digits of the SHA-256 of canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def digest_tensors(named: dict[str, torch.Tensor], text: str = "") -> str:
    """Return a digest of names, shapes, types and contents of tensors, and of a text beside them."""
    h = hashlib.sha256(text.encode())
    for name, value in sorted(named.items()):
        h.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        h.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return h.hexdigest()[:16]


def describe(value: Any) -> JSON:
    """Return `value` as JSON: dataclasses of mimar as {"part": name, field: …}, other objects by their digest."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list | tuple):
        return [describe(v) for v in value]
    if isinstance(value, dict):
        return {str(k): describe(v) for k, v in value.items()}
    if hasattr(value, "identity"):  # a value that knows its own digest: arrays of a user, for one
        return {OPAQUE: value.identity(), "kind": type(value).__name__}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        own = (f for f in dataclasses.fields(value) if f.init and not f.metadata.get(NEUTRAL))
        fields = {f.name: describe(getattr(value, f.name)) for f in own if not _unsaid(f, value)}
        return {PART: name, **fields}
    if isinstance(value, torch.nn.Module):
        return {OPAQUE: digest_tensors(value.state_dict(), repr(value)), "kind": type(value).__name__}
    if isinstance(value, torch.Tensor):
        return {OPAQUE: digest_tensors({"": value}), "kind": "Tensor"}
    if callable(value) and hasattr(value, "__qualname__"):
        return {OPAQUE: f"{value.__module__}.{value.__qualname__}", "kind": "function"}
    if " at 0x" in repr(value):  # its text would be an address: other in every process
        held = describe(dict(sorted(vars(value).items()))) if hasattr(value, "__dict__") else None
        return {OPAQUE: digest([type(value).__module__, type(value).__qualname__, held]), "kind": type(value).__name__}
    return {OPAQUE: digest(repr(value)), "kind": type(value).__name__}


def _unsaid(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field goes without saying: one that came later, at its default."""
    return bool(field.metadata.get(LATER)) and bool(getattr(value, field.name) == field.default)


def rebuild(tree: JSON) -> Any:
    """Return the value that `describe` described; lists come back as tuples.

    Raises RunError when the tree holds an object that only its owner has, or names a class outside mimar.
    """
    if isinstance(tree, list):
        return tuple(rebuild(v) for v in tree)
    if not isinstance(tree, dict):
        return tree
    if "float" in tree and len(tree) == 1:
        return float(tree["float"])
    if OPAQUE in tree:
        kind = tree.get("kind", "object")
        raise RunError(
            f"this run was made with your own {kind}, which its folder does not contain; "
            "continue it from Python by the same call with .run(folder, resume=True)"
        )
    if PART not in tree:
        return {k: rebuild(v) for k, v in tree.items()}
    part, fields = _class(tree[PART]), {k: rebuild(v) for k, v in tree.items() if k != PART}
    try:
        return part(**fields)
    except TypeError as error:
        raise RunError(
            f"run.json gives {part.__name__} other fields than this version of mimar has: {error}"
        ) from error


def _class(name: str) -> type:
    module, _, attribute = name.rpartition(".")
    if not module.startswith("mimar."):
        raise RunError(
            f"run.json names {name!r}, which is not mimar's; continue from Python with .run(folder, resume=True)"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RunError(f"run.json names the part {name!r}, which this version of mimar does not have") from error
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise RunError(f"run.json names {name!r}, which is not a part of mimar")
    return found
