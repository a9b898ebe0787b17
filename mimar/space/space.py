"""A space: choices, conditions and constraints; everything that can be done with architectures without training one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mimar.core.errors import SpaceError, nearest
from mimar.core.streams import Draws, Rng, source, uniforms
from mimar.space import counting, encoding, moves
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice, Value, holds
from mimar.space.structures import Structure, structure_of

Constraint = Callable[[Architecture], bool]
TRIES = 1000  # architectures drawn before a constraint counts as unsatisfiable
COUNTABLE = 1_000_000  # spaces with constraints are counted one by one up to this size


class Space:
    """A set of architectures: the values of `choices` that satisfy their conditions and all `constraints`.

    `structure` (optional) knows what the choices mean as a graph: canonical form, simplification, path and graph codes and
    a published order. Raises SpaceError on two choices of one name, conditions on unknown choices or options, and cycles.
    """

    def __init__(
        self, choices: Iterable[Choice], constraints: Iterable[Constraint] = (), structure: Structure | None = None
    ) -> None:
        self.choices: tuple[Choice, ...] = tuple(choices)
        self.constraints: tuple[Constraint, ...] = (constraints,) if callable(constraints) else tuple(constraints)
        self.structure = structure
        self._named: dict[str, Choice] = {}
        for choice in self.choices:
            if not isinstance(choice, Choice):
                raise SpaceError(f"a space is made of Choice values, not of {choice!r}")
            if choice.name in self._named:
                raise SpaceError(f"the choice {choice.name!r} is given twice")
            self._named[choice.name] = choice
        for constraint in self.constraints:
            if not callable(constraint):
                raise SpaceError(f"a constraint is a function from an architecture to a bool, not {constraint!r}")
        self.ordered: tuple[Choice, ...] = _parents_first(self._named)

    def __getitem__(self, name: str) -> Choice:
        if name not in self._named:
            raise SpaceError(nearest(str(name), self._named, kind="choice"))
        return self._named[name]

    def __iter__(self) -> Iterator[Choice]:
        return iter(self.choices)

    def __len__(self) -> int:
        return len(self.choices)

    def __contains__(self, name: object) -> bool:
        return name in self._named

    def __repr__(self) -> str:
        return f"Space({', '.join(c.name for c in self.choices)})"

    @property
    def layout(self) -> str | None:
        """The published layout of the cell ("nasbench201", "darts"), or None."""
        return self.structure.layout if self.structure else None

    # -- architectures of the space ---------------------------------------------------------------------------------

    def complete(self, values: Mapping[str, Value], fill: Callable[[Choice], Value]) -> Architecture:
        """Keep the values of active choices, drop the others, and ask `fill` for what is missing; checks nothing."""
        made: dict[str, Value] = {}
        for choice in self.ordered:
            if choice.active(made):
                made[choice.name] = values[choice.name] if choice.name in values else fill(choice)
        return Architecture.trusted(made)

    def allows(self, arch: Architecture) -> bool:
        """Tell whether every constraint holds."""
        return all(constraint(arch) for constraint in self.constraints)

    def check(self, arch: Mapping[str, Value]) -> None:
        """Raise SpaceError, with one sentence, unless `arch` is an architecture of this space."""
        for name in arch:
            if name not in self._named:
                raise SpaceError(nearest(str(name), self._named, kind="choice"))
        for choice in self.ordered:
            if not choice.active(arch):
                if choice.name in arch:
                    raise SpaceError(
                        f"choice {choice.name!r} is inactive here (it needs {_needs(choice)}) and must be absent"
                    )
                continue
            if choice.name not in arch:
                raise SpaceError(f"the architecture decides nothing for the active choice {choice.name!r}")
            problem = choice.problem(arch[choice.name])
            if problem:
                raise SpaceError(problem)
        made = arch if isinstance(arch, Architecture) else Architecture(arch)
        for constraint in self.constraints:
            if not constraint(made):
                raise SpaceError(f"the architecture violates the constraint {_name(constraint)}")

    def valid(self, arch: Mapping[str, Value]) -> bool:
        """Tell whether `arch` is an architecture of this space."""
        try:
            self.check(arch)
        except SpaceError:
            return False
        return True

    def sample(self, rng: Rng) -> Architecture:
        """Draw an architecture: each active choice, parents first, by its prior; constraints by rejection.

        Every attempt consumes one number per choice from a generator, so streams stay aligned whatever is active. After
        1,000 attempts a constraint that can `draw` what it allows, by the same law, does so. Raises SpaceError when no
        attempt out of 1,000 satisfies the constraints.
        """
        rng = source(rng)
        able = [constraint for constraint in self.constraints if hasattr(constraint, "draw")]
        for attempt in range(2 * TRIES if able else TRIES):
            values = {} if attempt < TRIES else {k: v for c in able for k, v in c.draw(self._named, rng).items()}
            arch = self.complete(values, self.filler(rng))
            if self.allows(arch):
                return arch
        names = ", ".join(_name(c) for c in self.constraints)
        raise SpaceError(f"none of {TRIES} sampled architectures satisfies the constraints ({names}); loosen them")

    def filler(self, rng: torch.Generator | Draws) -> Callable[[Choice], Value]:
        """Return a function that draws values of choices; a generator gives one number per choice of the space at once."""
        if isinstance(rng, Draws):
            return lambda choice: choice.at(rng.uniform(), prior=True)
        numbers = iter(uniforms(rng, len(self.ordered)))
        return lambda choice: choice.at(next(numbers), prior=True)

    # -- moving about -----------------------------------------------------------------------------------------------

    def neighbours(self, arch: Architecture) -> list[Architecture]:
        """Return all valid architectures that differ from `arch` in exactly one decision.

        Only choices active in both count as differing; a decision that activates others yields one neighbour for every
        filling of them, up to 64 fillings, and beyond that the one filling by first options. Sizes move to adjacent ones,
        values by a tenth of their range up and down.
        """
        return moves.neighbours(self, arch)

    def mutate(self, arch: Architecture, rng: Rng) -> Architecture:
        """Return a valid architecture with one decision changed at random, never `arch` itself when another one exists.

        The decision is uniform among those with an alternative, its new value uniform (adjacent for sizes, anywhere in the
        range for values); choices that become active are sampled.
        """
        return moves.mutate(self, arch, source(rng))

    def crossover(self, a: Architecture, b: Architecture, rng: Rng) -> Architecture:
        """Return a child that takes each decision from `a` or `b`, parents first, at even odds.

        A choice active in one parent only is taken from it; one active in none is sampled. When 1,000 children violate the
        constraints, one of the parents is returned.
        """
        return moves.crossover(self, a, b, source(rng))

    def decisions(self, prefix: Mapping[str, Value] | Sequence[tuple[str, Value]] = ()) -> tuple[Choice, ...]:
        """Return the choices that can be decided next, given those decided so far; empty when nothing is left.

        A sequential decider takes the first, appends (name, one of its `outcomes`) to the prefix and asks again. Choices
        whose parents are undecided are not among them, and neither are inactive ones.
        """
        decided = dict(prefix)
        ready = []
        pending: set[str] = set()
        for choice in self.ordered:
            if choice.name in decided:
                problem = choice.problem(decided[choice.name])
                if problem:
                    raise SpaceError(problem)
            elif choice.active(decided):
                ready.append(choice)
                pending.add(choice.name)
            elif any(p in pending for p, _ in choice.when):
                pending.add(choice.name)
        for name in decided:
            self[name]
        return tuple(ready)

    # -- one of a class ---------------------------------------------------------------------------------------------

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the representative of all architectures that are the same network; the published rule where there is one."""
        return self.structure.canonical(arch) if self.structure else arch

    def simplify(self, arch: Architecture) -> Architecture:
        """Return `arch` with its dead edges and nodes removed; see the structure for what that means exactly."""
        return self.structure.simplify(arch) if self.structure else arch

    # -- numbers ----------------------------------------------------------------------------------------------------

    def size(self) -> int | float:
        """Return the exact number of architectures: an integer, or infinite with an active choice of the kind `value`.

        Counted without enumeration; with constraints by enumeration, and SpaceError beyond a million candidates.
        """
        free = counting.count(self.ordered)
        if not self.constraints or free == float("inf"):
            return free
        if free > COUNTABLE:
            raise SpaceError(
                f"a space with constraints is counted one by one, and {free} candidates are too many for that"
            )
        return sum(1 for _ in self.enumerate())

    def enumerate(self) -> Iterator[Architecture]:
        """Yield every architecture, lazily and in a fixed order: the published one, or lexicographic in the choices.

        Raises SpaceError for spaces with choices of the kind `value`.
        """
        endless = [c.name for c in self.choices if c.kind == "value"]
        if endless:
            raise SpaceError(f"a space with the continuous choice {endless[0]!r} cannot be enumerated")
        published = self.structure.enumerate() if self.structure else None
        return filter(self.allows, published if published is not None else self._lexicographic({}, 0))

    def _lexicographic(self, made: dict[str, Value], index: int) -> Iterator[Architecture]:
        if index == len(self.ordered):
            yield Architecture.trusted(dict(made))
            return
        choice = self.ordered[index]
        if not choice.active(made):
            yield from self._lexicographic(made, index + 1)
            return
        for value in choice.outcomes:
            made[choice.name] = value
            yield from self._lexicographic(made, index + 1)
        del made[choice.name]

    def gates(
        self, arch: Architecture, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """Return the gate vector of every active choice but values: one-hot over `options`, k-hot for `some`."""
        self.check(arch)
        gates = {}
        for choice in self.ordered:
            if choice.name in arch and choice.kind != "value":
                row = [float(holds(arch[choice.name], option)) for option in choice.options]
                gates[choice.name] = torch.tensor(row, dtype=dtype, device=device)
        return gates

    def encode(self, archs: Sequence[Architecture], kind: str = "onehot") -> Any:
        """Return the code of several architectures; see `mimar.space.encoding` for the five kinds."""
        for arch in archs:
            self.check(arch)
        return encoding.encode(self, list(archs), kind)

    def decode(self, codes: Any, kind: str = "onehot") -> list[Architecture]:
        """Return the architectures of codes; onehot and unit-cube codes may be any real numbers."""
        return encoding.decode(self, codes, kind)

    # -- JSON -------------------------------------------------------------------------------------------------------

    def to_json(self) -> list[dict[str, Any]]:
        """Return the choices as JSON; constraints are code and structures are named by `layout`, neither is in it."""
        return [choice.to_json() for choice in self.choices]

    @staticmethod
    def from_json(
        data: Sequence[Mapping[str, Any]], constraints: Iterable[Constraint] = (), *, layout: str | None = None
    ) -> Space:
        """Return the space of a list of choices in JSON, with the structure of the published `layout`."""
        choices = tuple(Choice.from_json(c) for c in data)
        return Space(choices, constraints, structure=structure_of(layout, choices))


def _parents_first(named: dict[str, Choice]) -> tuple[Choice, ...]:
    for choice in named.values():
        for parent, option in choice.when:
            if parent == choice.name:
                raise SpaceError(
                    f"the choice {parent!r} is conditional on itself (nested in its own option {option!r})"
                )
            if parent not in named:
                raise SpaceError(f"choice {choice.name!r} is conditional: " + nearest(parent, named, kind="choice"))
            if named[parent].kind == "value":
                raise SpaceError(
                    f"choice {choice.name!r} cannot be conditional on {parent!r}, which is of kind 'value'"
                )
            if option not in named[parent].options:
                options = [str(o) for o in named[parent].options]
                raise SpaceError(
                    f"choice {choice.name!r} is conditional: " + nearest(str(option), options, kind="option")
                )
    ordered: dict[str, Choice] = {}
    left = list(named.values())
    while left:
        ready = [c for c in left if all(parent in ordered for parent, _ in c.when)]
        if not ready:
            raise SpaceError(f"the conditions of {', '.join(repr(c.name) for c in left[:5])} form a circle")
        ordered |= {c.name: c for c in _declared_prefix(left, ordered) or ready[:1]}
        left = [c for c in left if c.name not in ordered]
    return tuple(ordered.values())


def _declared_prefix(left: list[Choice], ordered: dict[str, Choice]) -> list[Choice]:
    """Return the longest beginning of `left` that can follow `ordered` as it stands: declared order wherever possible."""
    known = set(ordered)
    prefix = []
    for choice in left:
        if any(parent not in known for parent, _ in choice.when):
            break
        known.add(choice.name)
        prefix.append(choice)
    return prefix


def _needs(choice: Choice) -> str:
    return " or ".join(f"{parent!r} = {option!r}" for parent, option in choice.when)


def _name(constraint: Constraint) -> str:
    return getattr(constraint, "__name__", None) or repr(constraint)
