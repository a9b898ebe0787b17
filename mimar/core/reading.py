"""Words read as values by annotation: "3" as a whole number, "3,4" as a tuple, "name:key=value,…" as a part."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Annotated, Any, Literal, TypeVar, Union

from mimar.core.errors import UsageError, nearest
from mimar.core.ranges import fits, hints, spell

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
ABSENT = object()
Part = TypeVar("Part")


def read(name: str, text: str, hint: Any) -> Any:
    """Return `text` read as the annotation `hint` says; raises UsageError with what is allowed."""
    for kind in alternatives(hint):
        found = _read(text, kind)
        if found is not ABSENT and fits(found, kind):
            return found
    raise UsageError(f"{name} is {text!r}; it must be {spell(hint)}")


def part(kind: type[Part], rest: str, name: str) -> Part:
    """Return the part of a frozen dataclass with the fields that "key=value,key=value" gives.

    Raises UsageError for an unknown key (naming the nearest) and for a value that its annotation does not allow.
    """
    kinds, given = hints(kind), {}
    known = [f.name for f in dataclasses.fields(kind) if f.init]  # type: ignore[arg-type]
    for word in filter(None, rest.split(",")):
        key, equals, text = (w.strip() for w in word.partition("="))
        if not equals:
            raise UsageError(f"an option of {name} is key=value; got {word!r}")
        if key not in known:
            raise UsageError(nearest(key, known, kind=f"option of {name}"))
        given[key] = read(f"{key} of {name}", text, kinds[key])
    return kind(**given)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, words before numbers before text, so that the narrowest one reads first."""
    if typing.get_origin(hint) not in (Union, types.UnionType):
        return (hint,)
    members = [m for member in typing.get_args(hint) for m in alternatives(member)]
    return tuple(sorted(members, key=lambda m: _base(m) is str))


def _base(hint: Any) -> Any:
    return _base(typing.get_args(hint)[0]) if typing.get_origin(hint) is Annotated else hint


def _read(text: str, hint: Any) -> Any:
    """Return `text` as one plain kind of value, or ABSENT where it is none."""
    base, low = _base(hint), text.lower()
    origin, args = typing.get_origin(base), typing.get_args(base)
    if origin is Literal:
        return next((a for a in args if str(a).lower() == low), ABSENT)
    if origin is tuple:
        parts = [_read(part.strip(), args[0]) for part in text.split(",") if part.strip()]
        return ABSENT if any(p is ABSENT or not fits(p, args[0]) for p in parts) else tuple(parts)
    if base is type(None):
        return None if low == "none" else ABSENT
    if base is bool:
        return WORDS.get(low, ABSENT)
    if base is str:
        return text
    if base in (int, float):
        try:
            number = base(text)
        except ValueError:
            return ABSENT
        return number if math.isfinite(number) else ABSENT
    return ABSENT
