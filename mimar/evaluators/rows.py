"""Which row of a table an architecture has.

R rows, C choices. The code of an architecture is the place of each value among its choice's `outcomes` (C digits); where
all choices are always active, the digits make one number in a mixed radix, and a row is found without making a hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mimar.core.errors import DataError, SpaceError, UsageError
from mimar.space import Architecture, Choice, Space

Array = np.ndarray[Any, Any]
DENSE = 1 << 21  # spaces up to this size have a list of all numbers, larger ones a dict of those with a row
LISTED = 10_000  # outcomes of one choice
ABSENT = -1
NOWHERE = -2  # neither the architecture nor its canonical form has a row


class Rows:
    """The architectures of a table's rows, and the way back from an architecture to its row.

    An architecture without a row of its own has that of `space.canonical`, where the space knows canonical forms. Make
    them by `of` or `of_codes`.
    """

    def __init__(self, space: Space, listed: Sequence[Architecture] | None, flat: Array | None) -> None:
        self.space, self._listed, self.flat = space, listed, flat
        self.radix = flat is not None
        self.count = len(flat) if flat is not None else len(listed or ())
        if flat is None:
            self._row = {a: i for i, a in enumerate(listed or ())}
            return
        self._digits = digits(space.ordered)
        size = _product(space.ordered)
        self._places: list[int] | dict[int, int]
        if size <= DENSE:
            numbers = np.full(size, ABSENT, dtype=np.int64)
            numbers[flat] = np.arange(len(flat))
            self._places = numbers.tolist()
        else:
            self._places = {code: row for row, code in enumerate(flat.tolist())}

    @staticmethod
    def of(space: Space, architectures: Iterable[Mapping[str, Any]] | None = None) -> Rows:
        """Return the rows of listed architectures, by default of all in the order of `space.enumerate()`.

        Raises DataError for an architecture that is given twice or is not of the space, SpaceError for spaces that have
        no order.
        """
        refuse_continuous(space)
        plain = space.structure is None or space.structure.enumerate() is None
        if architectures is None and plain and not space.constraints and radix(space.ordered):
            return Rows(space, None, np.arange(_product(space.ordered)))
        if architectures is None:
            listed = list(space.enumerate())
        else:
            listed = [_checked(space, i, a) for i, a in enumerate(architectures)]
        if not radix(space.ordered):
            _refuse_twins(listed)
            return Rows(space, listed, None)
        numbered = digits(space.ordered)
        flat = np.array([sum(places[a[name]] for name, places in numbered) for a in listed], dtype=np.int64)
        _refuse_twins(flat.tolist(), listed)
        return Rows(space, listed, flat)

    @staticmethod
    def of_codes(space: Space, codes: Array) -> Rows:
        """Return the rows of architectures given as codes (R, C), choices in the order of `space.ordered`.

        −1 where a choice is inactive. Constraints of spaces without conditions are not asked: codes are the fast way.
        Raises DataError, naming the row, where a code is out of range or given twice.
        """
        refuse_continuous(space)
        counts = [int(c.count) for c in space.ordered]
        if codes.ndim != 2 or codes.shape[1] != len(counts) or codes.dtype.kind not in "iu":
            raise DataError(
                f"codes of this table are whole numbers (rows, {len(counts)}), not {codes.dtype} {codes.shape}"
            )
        codes = codes.astype(np.int64)
        whole = radix(space.ordered)
        wrong = ((codes < (0 if whole else ABSENT)) | (codes >= np.asarray(counts))).any(1)
        if wrong.any():
            raise DataError(f"row {int(wrong.argmax())} of the table has a code that is out of range")
        if not whole:
            outcomes = [(c.name, c.outcomes) for c in space.ordered]
            made = (
                {name: o[k] for (name, o), k in zip(outcomes, row, strict=True) if k != ABSENT}
                for row in codes.tolist()
            )
            return Rows.of(space, made)
        flat = codes @ _strides(counts)
        _refuse_twins(flat.tolist())
        return Rows(space, None, flat)

    def __len__(self) -> int:
        return self.count

    @property
    def architectures(self) -> Sequence[Architecture]:
        """The architectures of all rows in order."""
        if self._listed is None:
            outcomes = [c.outcomes for c in self.space.ordered]
            columns = [[o[k] for k in digit] for o, digit in zip(outcomes, self.codes.T.tolist(), strict=True)]
            names = [c.name for c in self.space.ordered]
            self._listed = [
                Architecture.trusted(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)
            ]
        return self._listed

    @property
    def codes(self) -> Array:
        """The codes of all rows: (R, C) int64, −1 where a choice is inactive."""
        if self.flat is not None:
            counts = [int(c.count) for c in self.space.ordered]
            return np.stack(np.unravel_index(self.flat, counts), axis=1)
        places = [(c.name, {value: i for i, value in enumerate(c.outcomes)}) for c in self.space.ordered]
        rows = [[known[a[name]] if name in a else ABSENT for name, known in places] for a in self.architectures]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(places))

    def row(self, architecture: Mapping[str, Any]) -> int | None:
        """Return the row of an architecture; None where there is none."""
        if not self.radix:
            return self._listed_row(architecture)
        code = 0
        try:
            for name, shares in self._digits:
                code += shares[architecture[name]]
        except (KeyError, TypeError):
            return None
        places = self._places
        row = places[code] if isinstance(places, list) else places.get(code, ABSENT)
        if row >= 0 and len(architecture) == len(self._digits):
            return row
        return self._twin(architecture, code) if row == ABSENT else None

    def _listed_row(self, architecture: Mapping[str, Any]) -> int | None:
        try:
            found = self._row.get(architecture)  # type: ignore[call-overload]
            if found is None and self.space.structure and self.space.valid(architecture):
                found = self._row.get(self.space.canonical(_architecture(architecture)))
        except TypeError:  # a plain dict has no hash
            return self._listed_row(_architecture(architecture)) if isinstance(architecture, dict) else None
        return found

    def _twin(self, architecture: Mapping[str, Any], code: int) -> int | None:
        """Return the row of the canonical form, and remember it."""
        if not self.space.structure or len(architecture) != len(self._digits):
            return None
        try:
            other: Mapping[str, Any] = self.space.canonical(_architecture(architecture))
        except (SpaceError, UsageError):  # it has none: a graph without a way to its output, for one
            other = architecture
        found = None if other == architecture else self.row(other)
        self._places[code] = NOWHERE if found is None else found
        return found

    def numbers(self, codes: Any) -> Array:
        """Return the rows (N,) of many architectures given as codes (N, C); −1 where there is none.

        Raises UsageError where the space has conditions, or a code is out of range.
        """
        if self.flat is None:
            raise UsageError("this table's space has conditions: ask its rows one by one")
        codes, counts = np.asarray(codes), np.array([int(c.count) for c in self.space.ordered])
        if codes.shape[1:] != counts.shape or (codes < 0).any() or (codes >= counts).any():
            raise UsageError(f"codes are (N, {len(counts)}), each below the number of its choice's outcomes")
        flat = codes @ self._strides
        found = self._dense[flat] if self._dense is not None else self._searched(flat)
        if self.space.structure and (found == ABSENT).any():
            for code in np.unique(flat[found == ABSENT]).tolist():
                row = self.row(self._architecture_of(code))
                found[flat == code] = ABSENT if row is None else row
        return found

    def _searched(self, flat: Array) -> Array:
        assert self.flat is not None
        order, ranked = self._ranked
        at = np.minimum(np.searchsorted(ranked, flat), len(ranked) - 1)
        return np.where(ranked[at] == flat, order[at], ABSENT)

    def _architecture_of(self, code: int) -> Architecture:
        counts = [int(c.count) for c in self.space.ordered]
        places = np.unravel_index(code, counts)
        return Architecture.trusted(
            {c.name: c.outcomes[int(k)] for c, k in zip(self.space.ordered, places, strict=True)}
        )

    @cached_property
    def _dense(self) -> Array | None:
        if self.flat is None or _product(self.space.ordered) > DENSE:
            return None
        numbers = np.full(_product(self.space.ordered), ABSENT, dtype=np.int64)
        numbers[self.flat] = np.arange(self.count)
        return numbers

    @cached_property
    def _ranked(self) -> tuple[Array, Array]:
        assert self.flat is not None
        order = np.argsort(self.flat, kind="stable")
        return order, self.flat[order]

    @cached_property
    def _strides(self) -> Array:
        return _strides([int(c.count) for c in self.space.ordered])


def radix(choices: Sequence[Choice]) -> bool:
    """Tell whether codes make one number: all choices are always active, and neither they nor their product are huge."""
    return all(not c.when and c.count <= LISTED for c in choices) and _product(choices) < 1 << 62


def digits(choices: Sequence[Choice]) -> list[tuple[str, dict[Any, int]]]:
    """Return, for each choice, what each of its values adds to the number of an architecture; the last varies fastest."""
    strides = _strides([int(c.count) for c in choices]).tolist()
    return [
        (c.name, {value: i * stride for i, value in enumerate(c.outcomes)})
        for c, stride in zip(choices, strides, strict=True)
    ]


def refuse_continuous(space: Space) -> None:
    """Raise DataError for a space with a choice of the kind `value`: a table cannot list it."""
    endless = [c.name for c in space.choices if c.kind == "value"]
    if endless:
        raise DataError(
            f"a table cannot list the continuous choice {endless[0]!r}: give its tabulated numbers as options"
        )


def _product(choices: Sequence[Choice]) -> int:
    found = 1
    for choice in choices:
        found *= int(choice.count)
    return found


def _strides(counts: list[int]) -> Array:
    return np.append(np.cumprod(counts[:0:-1])[::-1], 1).astype(np.int64)


def _architecture(given: Mapping[str, Any]) -> Architecture:
    return given if isinstance(given, Architecture) else Architecture(given)


def _checked(space: Space, row: int, given: Mapping[str, Any]) -> Architecture:
    try:
        made = _architecture(given)
        space.check(made)
    except SpaceError as error:
        raise DataError(f"row {row} of the table is not an architecture of the space: {error}") from None
    return made


def _refuse_twins(keys: Sequence[Any], shown: Sequence[Architecture] | None = None) -> None:
    if len(set(keys)) == len(keys):
        return
    first: dict[Any, int] = {}
    i, j = next((first[key], n) for n, key in enumerate(keys) if first.setdefault(key, n) != n)
    what = "" if shown is None and not isinstance(keys[j], Architecture) else f": {dict((shown or keys)[j])!r}"
    raise DataError(f"rows {i} and {j} of the table have the same architecture{what}")
