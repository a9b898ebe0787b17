"""An architecture as a value: what was decided, by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mimar.core import describe
from mimar.core.errors import SpaceError
from mimar.space import formats
from mimar.space.formats import Genotype


class Architecture(Mapping[str, Any]):
    """An immutable mapping from the name of each active choice to its option (a tuple of options for the kind `some`).

    Equality and hash ignore the order of the names. Alone it rebuilds the network from its space. Raises SpaceError when
    a name is not a string or a value is not a string, a number or a tuple of them.
    """

    __slots__ = ("_hash", "_items")
    _items: dict[str, Any]
    _hash: int

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        checked = {name: _value(name, value) for name, value in dict(items or {}).items()}
        object.__setattr__(self, "_items", checked)

    @classmethod
    def trusted(cls, items: dict[str, Any]) -> Architecture:
        """Wrap a fresh dict of right values without checking or copying it; for the inner loops of spaces."""
        self = cls.__new__(cls)
        object.__setattr__(self, "_items", items)
        return self

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an Architecture is immutable; make another one from dict(architecture)")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Architecture):
            return self._items == other._items
        return self._items == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", hash(frozenset(self._items.items())))
            return self._hash

    def __repr__(self) -> str:
        return f"Architecture({self._items!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Architecture, (dict(self._items),)

    @property
    def digest(self) -> str:
        """Sixteen hex digits that depend on the decisions alone."""
        return describe.digest(self._items)

    def to_json(self) -> str:
        """Return one JSON object with sorted names."""
        return json.dumps(self._items, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Architecture:
        """Return the architecture that `to_json` wrote; raises SpaceError when the text is not such an object."""
        try:
            data = json.loads(text)
        except (TypeError, ValueError) as error:
            raise SpaceError(f"this is not an architecture in JSON ({error})") from None
        if not isinstance(data, dict):
            raise SpaceError(f"an architecture in JSON is an object of choice and option, not {text[:60]!r}")
        return Architecture(data)

    def to_nasbench201(self) -> str:
        """Return the benchmark's string ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        return formats.to_nasbench201(self._items)

    @staticmethod
    def from_nasbench201(text: str, prefix: str = "cell") -> Architecture:
        """Return the cell of a benchmark string, with choices named ``prefix/i-j``."""
        return Architecture.trusted(formats.from_nasbench201(text, prefix))

    def to_genotype(self) -> Genotype:
        """Return the DARTS genotype: two (operation, input) pairs a node, inputs in increasing order."""
        return formats.to_genotype(self._items)

    @staticmethod
    def from_genotype(genotype: Genotype | str) -> Architecture:
        """Return the two cells of a genotype, or of the text of one (which is parsed, never evaluated)."""
        return Architecture.trusted(formats.from_genotype(genotype))


def _value(name: Any, value: Any) -> Any:
    if not isinstance(name, str):
        raise SpaceError(f"the names of an architecture are strings, not {name!r}")
    if isinstance(value, list | tuple) and all(isinstance(v, str | int | float) for v in value):
        return tuple(value)
    if isinstance(value, str | int | float):
        return value
    raise SpaceError(f"choice {name!r} has the value {value!r}; expected a string, a number or a tuple of them")
