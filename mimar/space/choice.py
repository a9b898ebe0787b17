"""One decision of a search space, as a frozen value."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate, combinations
from typing import Any

from mimar.core.errors import SpaceError, nearest

LISTED = 1000  # combinations up to this number are listed once, more are computed each time
KINDS = ("one", "some", "size", "value")
Value = Any  # an option (str, int, float), or a tuple of options for the kind `some`


@dataclass(frozen=True)
class Choice:
    """A decision with a name: `kind` says what a value of it looks like.

    * ``one``: one of the options.
    * ``some``: a tuple of `k` different options, in the order of `options`.
    * ``size``: one of strictly increasing integers; its neighbours are the adjacent ones.
    * ``value``: a float in [low, high] = `options`; with `log` on a logarithmic scale.

    `when` holds (parent, option) pairs and makes the choice active if any of them holds (a `some` parent holds an option
    that is among its values); without pairs it is always active. `prior` gives options a multiplicity when sampling.
    Options in `never` exist in the supernet only: they are not sampled, derived or counted.
    Raises SpaceError when the fields contradict each other.
    """

    name: str
    options: tuple[Any, ...]
    kind: str = "one"
    k: int = 1
    when: tuple[tuple[str, Any], ...] = ()
    prior: tuple[float, ...] | None = None
    never: tuple[Any, ...] = ()
    log: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise SpaceError(f"a choice needs a name that is a non-empty string, not {self.name!r}")
        for field in ("options", "when", "never", "prior"):
            given = getattr(self, field)
            if isinstance(given, str) or (given is not None and not hasattr(given, "__iter__")):
                raise SpaceError(f"choice {self.name!r}: {field} must be a tuple, not {given!r}")
            if given is not None:
                object.__setattr__(self, field, tuple(tuple(p) if field == "when" else p for p in given))
        if self.kind not in KINDS:
            raise SpaceError(f"choice {self.name!r}: " + nearest(str(self.kind), KINDS, kind="kind"))
        for problem in self._problems():
            raise SpaceError(f"choice {self.name!r} {problem}")

    def _problems(self) -> Iterator[str]:
        if self.kind == "value":
            yield from self._range_problems()
            return
        if not self.options:
            yield "has no options"
        for option in (*self.options, *self.never):
            if not isinstance(option, str | int | float):
                yield f"has the option {option!r}; options are strings or numbers"
        if len(set(self.options)) < len(self.options):
            twice = next(o for o in self.options if self.options.count(o) > 1)
            yield f"has the option {twice!r} twice"
        if self.kind == "size" and not all(type(o) is int for o in self.options):
            yield f"is of kind 'size' and needs integers, not {self.options!r}"
        if self.kind == "size" and list(self.options) != sorted(self.options):
            yield f"is of kind 'size' and needs increasing options, not {self.options!r}"
        for option in self.never:
            if option not in self.options:
                yield f"excludes {option!r}, which is none of its options {self.options!r}"
        if not self.allowed:
            yield "excludes all of its options"
        if type(self.k) is not int or (self.kind != "some" and self.k != 1):
            yield f"of kind {self.kind!r} cannot take k={self.k!r}"
        if self.kind == "some" and not 1 <= self.k <= len(self.allowed):
            yield f"cannot take k={self.k} of {len(self.allowed)} options; k lies between 1 and {len(self.allowed)}"
        if self.log:
            yield f"of kind {self.kind!r} cannot be logarithmic; only 'value' can"
        yield from self._prior_problems()

    def _range_problems(self) -> Iterator[str]:
        numbers = len(self.options) == 2 and all(type(o) in (int, float) and math.isfinite(o) for o in self.options)
        if not numbers or self.options[0] >= self.options[1]:
            yield f"is of kind 'value' and needs options (low, high) with low < high, not {self.options!r}"
        elif self.log and self.options[0] <= 0:
            yield f"is logarithmic and needs a low end above zero, not {self.options[0]!r}"
        if self.prior is not None or self.never or self.k != 1:
            yield "is of kind 'value' and takes no prior, never or k"

    def _prior_problems(self) -> Iterator[str]:
        if self.prior is None:
            return
        if len(self.prior) != len(self.options):
            yield f"has {len(self.options)} options but {len(self.prior)} prior multiplicities"
        elif not all(type(p) in (int, float) and math.isfinite(p) and p > 0 for p in self.prior):
            yield f"needs positive prior multiplicities, not {self.prior!r}; use `never` for an option without any"

    @cached_property
    def allowed(self) -> tuple[Any, ...]:
        """The options that an architecture may take (options without `never`)."""
        return tuple(o for o in self.options if o not in self.never)

    @cached_property
    def outcomes(self) -> tuple[Value, ...]:
        """All values that the choice can take, in a fixed order; empty for the kind `value`."""
        if self.kind == "value":
            return ()
        return tuple(combinations(self.allowed, self.k)) if self.kind == "some" else self.allowed

    @cached_property
    def count(self) -> int | float:
        """How many values the choice can take: an integer, infinite for the kind `value`."""
        if self.kind == "value":
            return math.inf
        return math.comb(len(self.allowed), self.k) if self.kind == "some" else len(self.allowed)

    @cached_property
    def _cumulative(self) -> tuple[float, ...]:
        weight = dict(zip(self.options, self.prior or (), strict=True))
        picks = self.outcomes if self.kind == "some" else [(o,) for o in self.outcomes]
        return tuple(accumulate(math.prod(weight[o] for o in pick) for pick in picks))

    def at(self, u: float, *, prior: bool = False) -> Value:
        """Return the value at u ∈ [0, 1]: equal shares of the interval, or shares by prior (a product for `some`)."""
        if self.kind == "value":
            low, high = (float(o) for o in self.options)
            if self.log:
                return min(max(low * (high / low) ** u, low), high)
            return min(max(low + u * (high - low), low), high)
        if prior and self.prior is not None:
            index = bisect_right(self._cumulative, u * self._cumulative[-1])
        else:
            index = int(u * self.count)
        return self._numbered(min(max(index, 0), int(self.count) - 1))

    def _numbered(self, index: int) -> Value:
        """Return `outcomes[index]`; combinations are not listed for it, since there may be very many."""
        if self.kind != "some" or self.count <= LISTED:
            return self.outcomes[index]
        taken: list[Any] = []
        for i, option in enumerate(self.allowed):
            with_it = math.comb(len(self.allowed) - i - 1, self.k - len(taken) - 1) if len(taken) < self.k else 0
            if index < with_it:
                taken.append(option)
            else:
                index -= with_it
        return tuple(taken)

    def _number(self, value: Value) -> int:
        """Return the place of `value` in `outcomes`."""
        if self.kind != "some":
            return self.allowed.index(value)
        number, left = 0, self.k
        for i, option in enumerate(self.allowed):
            if option in value:
                left -= 1
            elif left:
                number += math.comb(len(self.allowed) - i - 1, left - 1)
        return number

    def active(self, values: Mapping[str, Value]) -> bool:
        """Tell whether the choice is active, given the values of all active parents."""
        return not self.when or any(p in values and holds(values[p], o) for p, o in self.when)

    def first(self) -> Value:
        """Return the first value, or the low end of a range."""
        return self.at(0.0)

    def unit(self, value: Value) -> float:
        """Return the u ∈ [0, 1] at the middle of the share of `value`; `at` is its inverse."""
        if self.kind == "value":
            low, high = self.options
            if self.log:
                return math.log(value / low) / math.log(high / low)
            return float((value - low) / (high - low))
        return (self._number(value) + 0.5) / self.count

    def steps(self, value: Value) -> tuple[Value, ...]:
        """Return the values one step from `value`: adjacent sizes, a tenth of a range up and down, or all others."""
        if self.kind == "value":
            u = self.unit(value)
            near = (self.at(max(u - 0.1, 0.0)), self.at(min(u + 0.1, 1.0)))
            return tuple(v for v in near if v != value)
        if self.kind == "size":
            i = self.allowed.index(value)
            return self.allowed[max(i - 1, 0) : i] + self.allowed[i + 1 : i + 2]
        return tuple(v for v in self.outcomes if v != value)

    def problem(self, value: Value) -> str | None:
        """Return what is wrong with `value` as a value of this choice, as one clause, or None."""
        if self.kind == "value":
            low, high = self.options
            if type(value) in (int, float) and low <= value <= high:
                return None
            return f"choice {self.name!r} must lie between {low} and {high}, not {value!r}"
        if self.kind == "some":
            return self._some_problem(value)
        return None if self._has(value) else self._unknown(value)

    def _some_problem(self, value: Value) -> str | None:
        if not isinstance(value, tuple):
            return f"choice {self.name!r} takes a tuple of {self.k} options, not {value!r}"
        for option in value:
            if not self._has(option):
                return self._unknown(option)
        if len(value) != self.k or len(set(value)) != self.k:
            return f"choice {self.name!r} takes {self.k} different options, not {value!r}"
        ordered = tuple(o for o in self.options if o in value)
        return (
            None
            if value == ordered
            else f"choice {self.name!r} takes options in their order {ordered!r}, not {value!r}"
        )

    @cached_property
    def _types(self) -> dict[Any, type]:
        return {option: type(option) for option in self.allowed}

    def _has(self, option: Any) -> bool:
        return isinstance(option, str | int | float) and self._types.get(option) is type(option)  # True is not 1

    def _unknown(self, option: Any) -> str:
        if option in self.never:
            return f"choice {self.name!r} never takes {option!r}, which exists in the supernet only"
        return f"choice {self.name!r}: " + nearest(str(option), [str(o) for o in self.allowed], kind="option")

    def to_json(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as JSON."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {k: [list(p) if k == "when" else p for p in v] if isinstance(v, tuple) else v for k, v in shown.items()}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Choice:
        """Return the choice that `to_json` described; raises SpaceError on unknown or missing keys."""
        known = [f.name for f in fields(Choice)]
        for key in data:
            if key not in known:
                raise SpaceError("a choice in JSON: " + nearest(key, known, kind="key"))
        if "name" not in data or "options" not in data:
            raise SpaceError("a choice in JSON needs the keys 'name' and 'options'")
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return Choice(**given)


def holds(value: Value, option: Any) -> bool:
    """Tell whether a parent with this value satisfies a condition on `option`."""
    return option in value if isinstance(value, tuple) else bool(value == option)
