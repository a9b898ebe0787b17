"""What the schedulers of several fidelities share: which rungs there are, who leads on one, proposals as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from mimar.core.errors import UsageError
from mimar.objectives import utilities
from mimar.schedulers.parts import Values
from mimar.space import Architecture, Proposal

Ended = dict[str, Values | None]  # by key, a word as in JSON; None where it failed


class Rung(NamedTuple):
    """A fidelity that stands for r·η^power, r the lowest."""

    fidelity: float
    power: int


def several(fidelities: tuple[float, ...], name: str) -> tuple[float, ...]:
    """Return the fidelities above zero; raises UsageError, naming what there is, where they are fewer than two."""
    found = tuple(f for f in fidelities if f > 0)
    if len(found) < 2:
        offered = f"{found[0]:g} alone" if found else "none"
        raise UsageError(f"{name} needs two or more fidelities and the evaluator offers {offered}: use asynchronous")
    return found


def ladder(fidelities: tuple[float, ...], eta: int, name: str) -> tuple[Rung, ...]:
    """Return the rungs: of the fidelities those nearest in ratio to r·η^k, k = 0, 1, …, K = log_η(R/r) rounded.

    r is the lowest fidelity above zero and R the highest, always the last rung. A fidelity that is nearest to several
    powers is one rung, and from one rung to the next as few go on as their powers say: 1/η³ from 12 to 200 epochs with
    η = 3. Raises UsageError where there are fewer than two fidelities.
    """
    low, *_, high = found = several(fidelities, name)
    top = max(round(math.log(high / low, eta)), 1)
    powers = {low: 0}
    for power in range(1, top):
        near = min(found, key=lambda f: abs(math.log(f / low, eta) - power))
        if near < high:
            powers.setdefault(near, power)
    return tuple(Rung(f, power) for f, power in (powers | {high: top}).items())


def ranked(ended: Ended) -> list[int]:
    """Return the keys of those that did not fail, best first; of equals the lower key. Several objectives: by `utilities`."""
    good = {int(key): values for key, values in ended.items() if values is not None}
    worth = dict(zip(good, utilities(list(good.values())), strict=True))
    return sorted(good, key=lambda key: (-worth[key], key))


def packed(proposals: Mapping[int, Proposal]) -> list[list[Any]]:
    """Return proposals by their keys as JSON."""
    return [[key, dict(p.architecture), p.parent, dict(p.meta)] for key, p in proposals.items()]


def unpacked(data: list[list[Any]]) -> dict[int, Proposal]:
    """Return what `packed` described."""
    return {key: Proposal(Architecture(arch), None, parent, meta) for key, arch, parent, meta in data}
