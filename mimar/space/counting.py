"""The number of architectures of a conditional space, exactly, without enumerating them.

Independent groups of choices multiply; within a group the count conditions on a choice whose activity is settled, once for
each way in which its values treat the conditions of others. Linear in the number of groups, exponential only in how deeply
conditions interlock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import combinations

from mimar.space.choice import Choice

Open = frozenset[tuple[str, object]]  # the conditions that may still hold; activity is settled when there are none
State = dict[str, Open | bool]


def count(choices: Iterable[Choice]) -> int | float:
    """Return the number of assignments to active choices; infinite when a choice of kind `value` can be active."""
    named = {c.name: c for c in choices}
    state: State = {c.name: frozenset(c.when) if c.when else True for c in named.values()}
    return _product(named, state, {})


def _product(
    named: dict[str, Choice], state: State, memo: dict[frozenset[tuple[str, Open | bool]], int | float]
) -> int | float:
    total: int | float = 1
    for group in _groups(state):
        key = frozenset(group.items())
        if key not in memo:
            memo[key] = _one_group(named, group, memo)
        total *= memo[key]
    return total


def _one_group(
    named: dict[str, Choice], group: State, memo: dict[frozenset[tuple[str, Open | bool]], int | float]
) -> int | float:
    pivot = next(name for name, when in group.items() if when is True or not when)
    rest = {name: when for name, when in group.items() if name != pivot}
    if not group[pivot]:
        return _product(named, _settle(rest, pivot, frozenset()), memo)
    if not rest:
        return named[pivot].count
    total: int | float = 0
    for held, ways in _treatments(named[pivot], rest):
        total += ways * _product(named, _settle(rest, pivot, held), memo)
    return total


def _treatments(choice: Choice, rest: State) -> Iterator[tuple[frozenset[object], int | float]]:
    """Yield (conditions that hold, number of values that make exactly these hold)."""
    asked = {o for when in rest.values() if isinstance(when, frozenset) for p, o in when if p == choice.name}
    relevant = [o for o in choice.allowed if o in asked]
    if choice.kind != "some":
        yield from ((frozenset([o]), 1) for o in relevant)
        others = choice.count - len(relevant)
        if others:
            yield frozenset(), others
        return
    free = len(choice.allowed) - len(relevant)
    for taken in range(min(choice.k, len(relevant)) + 1):
        ways = math.comb(free, choice.k - taken)
        if ways:
            yield from ((frozenset(held), ways) for held in combinations(relevant, taken))


def _settle(rest: State, parent: str, held: frozenset[object]) -> State:
    settled: State = {}
    for name, when in rest.items():
        if isinstance(when, frozenset):
            hit = any(p == parent and o in held for p, o in when)
            settled[name] = True if hit else frozenset((p, o) for p, o in when if p != parent)
        else:
            settled[name] = when
    return settled


def _groups(state: State) -> Iterator[State]:
    """Yield the connected groups of choices, in order."""
    group_of = {name: {name} for name in state}
    for name, when in state.items():
        for parent in {p for p, _ in when} if isinstance(when, frozenset) else ():
            if group_of[parent] is not group_of[name]:
                merged = group_of[parent] | group_of[name]
                for member in merged:
                    group_of[member] = merged
    done: set[str] = set()
    for name in state:
        if name not in done:
            done |= group_of[name]
            yield {n: state[n] for n in state if n in group_of[name]}
