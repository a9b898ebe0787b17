"""Words of the form key=value into the keyword arguments of a recipe, by their annotations.

epochs=5                    a keyword of the recipe
retrain.optimiser.lr=0.1    a field of a keyword that is a part: its default with that field replaced
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mimar.core.errors import UsageError, nearest
from mimar.core.ranges import hints, spell
from mimar.core.reading import alternatives, read

RESERVED = ("net", "task", "seed", "device", "baseline")
FLAGS = (*RESERVED, "out", "seeds", "workers", "json", "debug")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option: its dotted name, annotation and default."""

    name: str
    hint: Any
    default: Any

    def __str__(self) -> str:
        return f"{self.name}={self.shown}  ({spell(self.hint)})"

    @property
    def shown(self) -> str:
        """The default as it would be written."""
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default))
        return "none" if self.default is None else str(self.default)


def options(function: Callable[..., Any]) -> list[Option]:
    """Return the options of a recipe, fields of parts included, in the order of its signature."""
    kinds = hints(function)
    keywords = [p for p in inspect.signature(function).parameters.values() if p.name not in RESERVED]
    return [o for p in keywords for o in _flat(Option(p.name, kinds.get(p.name, str), p.default))]


def fields(part: Any) -> list[Option]:
    """Return the options of a part: its fields, and those of the parts in them."""
    kinds, own = hints(part.__class__), (f for f in dataclasses.fields(part) if f.init)
    return [o for f in own for o in _flat(Option(f.name, kinds[f.name], getattr(part, f.name)))]


def parse(words: Iterable[str], function: Callable[..., Any]) -> dict[str, Any]:
    """Return the keyword arguments that `words` give to a recipe; raises UsageError, naming what is right instead."""
    given = pairs(words)
    for key, text in given.items():
        if key in FLAGS:
            flag = f"--{key}" if key in ("json", "debug", "inexact") else f"--{key} {text}"
            raise UsageError(f"{key} is a flag, not an option of the recipe: give {flag} instead of {key}={text}")
    kinds = hints(function)
    known = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.name not in RESERVED}
    return _values(given, {k: Option(k, kinds.get(k, str), d) for k, d in known.items()}, options(function), "")


def changed(part: Any, words: Iterable[str]) -> Any:
    """Return `part` with the fields that `words` give."""
    return _changed(part, pairs(words), fields(part), "")


def pairs(words: Iterable[str]) -> dict[str, str]:
    """Cut key=value words; raises UsageError for a word without a key or "=", and for a key given twice."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise UsageError(f"{word!r} is not an option: options have the form key=value, as in epochs=5")
        if key in found:
            raise UsageError(f"the option {key!r} is given twice")
        found[key] = text.strip()
    return found


def _values(given: Mapping[str, str], known: Mapping[str, Option], listed: list[Option], owner: str) -> dict[str, Any]:
    """Read each of `given` for an option of `known`; what is dotted goes to the part that the option holds."""
    nested: dict[str, dict[str, str]] = {}
    found: dict[str, Any] = {}
    for key, text in given.items():
        head, _, rest = key.partition(".")
        part = _part(known[head]) if head in known else None
        if head not in known or (rest and part is None):
            raise UsageError(nearest(f"{owner}{key}", [f"{owner}{o.name}" for o in listed], kind="option"))
        if rest:
            nested.setdefault(head, {})[rest] = text
        elif part is not None and not (text.lower() == "none" and type(None) in alternatives(known[head].hint)):
            first = fields(part)[0]
            raise UsageError(f"{owner}{key} is a part: set its fields, as in {owner}{key}.{first.name}={first.default}")
        else:
            found[key] = read(f"{owner}{key}", text, known[head].hint)
    for head, inside in nested.items():
        if head in found:
            raise UsageError(f"{owner}{head} is given as none and with fields: give one of them")
        part = _part(known[head])
        found[head] = _changed(part, inside, fields(part), f"{owner}{head}.")
    return found


def _changed(part: Any, given: Mapping[str, str], listed: list[Option], owner: str) -> Any:
    kinds = hints(part.__class__)
    known = {f.name: Option(f.name, kinds[f.name], getattr(part, f.name)) for f in dataclasses.fields(part) if f.init}
    return dataclasses.replace(part, **_values(given, known, listed, owner))


def _part(option: Option) -> Any:
    """Return the part that an option holds by default, or None where it holds a plain value."""
    if dataclasses.is_dataclass(option.default) and not isinstance(option.default, type):
        return option.default
    kinds = [kind for kind in alternatives(option.hint) if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
    return kinds[0]() if kinds else None


def _flat(option: Option) -> list[Option]:
    part = _part(option)
    if part is None:
        return [option]
    return [dataclasses.replace(o, name=f"{option.name}.{o.name}") for o in fields(part)]
