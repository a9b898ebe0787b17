"""Options checked against their annotations: `Annotated[int, Range(1, 10)]`, `Literal["shared", "fresh"]`, unions of them."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

from mimar.core.errors import UsageError


@dataclass(frozen=True)
class Range:
    """The interval of values an option takes; None leaves a side open, `open_low` excludes the lower end."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether `value` lies in the interval (NaN does not)."""
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        return not math.isnan(value) and above and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        least = "" if self.low is None else f"{'above' if self.open_low else 'at least'} {self.low:g}"
        most = "" if self.high is None else f"at most {self.high:g}"
        return " and ".join(filter(None, (least, most))) or "any number"


def fits(value: Any, hint: Any) -> bool:
    """Tell whether `value` is allowed by the annotation `hint`; hints that say nothing checkable allow everything."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return fits(value, args[0]) and all(
            m.holds(value) for m in args[1:] if isinstance(m, Range) and isinstance(value, int | float)
        )
    if origin is Literal:
        return any(value == a and type(value) is type(a) for a in args)
    if origin in (Union, types.UnionType):
        return any(fits(value, a) for a in args)
    if hint is type(None) or hint is None:
        return value is None
    if hint is bool or hint is str:
        return isinstance(value, hint)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) and dataclasses.is_dataclass(hint) else True


def spell(hint: Any) -> str:
    """Say in words what the annotation allows."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        ranges = [str(m) for m in args[1:] if isinstance(m, Range)]
        return " ".join([spell(args[0]), *ranges])
    if origin is Literal:
        return " or ".join(repr(a) for a in args)
    if origin in (Union, types.UnionType):
        return " or ".join(spell(a) for a in args)
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "none"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def hints(owner: Any) -> dict[str, Any]:
    """Return the resolved annotations of a class or function, extras included."""
    return typing.get_type_hints(owner, include_extras=True)


def check(owner: str, name: str, value: Any, hint: Any) -> None:
    """Raise UsageError, naming what is allowed, unless `value` fits `hint`."""
    if not fits(value, hint):
        raise UsageError(f"{owner}{name} is {value!r}; it must be {spell(hint)}")


def validate(part: Any) -> None:
    """Check every field of a dataclass against its annotation; meant for `__post_init__`."""
    kinds = hints(type(part))
    for field in dataclasses.fields(part):
        if field.init:
            check(f"{type(part).__name__}.", field.name, getattr(part, field.name), kinds[field.name])


Count = Annotated[int, Range(1)]
Batch = Annotated[int, Range(2)]  # batch norm needs two samples
Whole = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0.0, open_low=True)]
NonNegative = Annotated[float, Range(0.0)]
Fraction = Annotated[float, Range(0.0, 1.0)]
