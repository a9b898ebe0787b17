"""Values as strict JSON and back, exactly: what JSON cannot hold is an error when written, never a surprise when read.

A number that is not finite is written as {"float": "nan"} (the convention of `mimar.core.describe`) and comes back as
a float. Tuples come back as lists.
"""

from __future__ import annotations

import json
import math
from typing import Any

from mimar.core.errors import UsageError

NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def dumps(value: Any, *, kind: str, indent: int | None = None, ordered: bool = False) -> str:
    """Return `value` as JSON text, keys as they stand or `ordered`.

    Raises UsageError, naming the `kind` of thing, when it would not come back the same.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        plain = _plain(value, kind)
        return json.dumps(plain, separators=separators, indent=indent, allow_nan=False, sort_keys=ordered)
    except (ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"the {kind} is not JSON: {error}") from error


def loads(text: str | bytes) -> Any:
    """Return the value of JSON text; raises ValueError when it is not JSON."""
    try:
        return json.loads(text, object_hook=_float)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def _plain(value: Any, kind: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, list | tuple):
        return [_plain(v, kind) for v in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise UsageError(f"the {kind} has the key {key!r}, which would come back as a text: use a text")
        return {k: _plain(v, kind) for k, v in value.items()}
    raise UsageError(
        f"the {kind} holds a {type(value).__name__}, which is not JSON: store numbers, texts, lists, dicts"
    )


def _float(value: dict[str, Any]) -> Any:
    if len(value) == 1 and isinstance(value.get("float"), str):
        return NONFINITE.get(value["float"], value)
    return value
