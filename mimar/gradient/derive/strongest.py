"""The derivation of DARTS: keep what has the largest gate."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor

from mimar.core.errors import SpaceError
from mimar.space import Architecture, Choice, Space

TRIES = 10_000  # architectures looked at, strongest first, before the constraints count as unsatisfiable


@dataclass(frozen=True)
class Strongest:
    """Each choice takes its option with the largest gate, never one of its `never` options (DARTS' `none`).

    A choice of kind `some` takes the k candidates of largest strength, gate × the largest permitted gate among the
    choices that hang on the candidate: in the DARTS space the two incoming edges with the strongest operation.
    Ties go to the earlier option. Where the constraints of the space forbid that, the permitted architecture with the
    largest product of strengths; raises SpaceError when none is met. Source: DARTS (2019), section 2.4; the constraints
    are ours.
    """

    version: ClassVar[int] = 1

    def __call__(self, space: Space, gates: Mapping[str, Tensor]) -> Architecture:
        """Return the derived architecture; choices that it makes inactive are absent from it."""
        strong = strengths(space, gates)
        choices = space.ordered  # parents first
        ranked = [_ranked(c, strong[c.name]) for c in choices]
        first = (0,) * len(choices)
        waiting, seen = [(0.0, first)], {first}
        for _ in range(TRIES):
            if not waiting:
                break
            cost, ranks = heapq.heappop(waiting)
            found: dict[str, Any] = {}
            for choice, options, rank in zip(choices, ranked, ranks, strict=True):
                if choice.active(found):
                    found[choice.name] = options[rank][1]
            if space.allows(architecture := Architecture(found)):
                return architecture
            for i, rank in enumerate(ranks):
                following = (*ranks[:i], rank + 1, *ranks[i + 1 :])
                if choices[i].name in found and rank + 1 < len(ranked[i]) and following not in seen:
                    seen.add(following)
                    heapq.heappush(waiting, (cost + ranked[i][rank + 1][0] - ranked[i][rank][0], following))
        raise SpaceError(
            f"no architecture among the {len(seen)} strongest satisfies the space's constraints; loosen them"
        )


def strengths(space: Space, gates: Mapping[str, Tensor]) -> dict[str, dict[Any, float]]:
    """Return {choice: {permitted option: strength}}; what `Strongest` ranks by."""
    found: dict[str, dict[Any, float]] = {}
    for choice in reversed(space.ordered):  # children before parents: a candidate is as strong as what hangs on it
        gate = gates.get(choice.name, torch.ones(len(choice.options))).tolist()
        found[choice.name] = {o: p for o, p in zip(choice.options, gate, strict=True) if o not in choice.never}
        if choice.kind == "some":
            for option in found[choice.name]:
                below = [c.name for c in space.choices if (choice.name, option) in c.when]
                if below:
                    found[choice.name][option] *= max(max(found[n].values()) for n in below)
    return found


def _ranked(choice: Choice, strength: dict[Any, float]) -> list[tuple[float, Any]]:
    """Return (cost, value) of all permitted values, strongest first; cost is minus the logarithm of the strength."""
    costs = {option: -math.log(max(value, 1e-300)) for option, value in strength.items()}
    if choice.kind == "some":
        sets = combinations(costs, choice.k)  # in the order of the options, as the sort keeps it for ties
        return sorted(((sum(costs[o] for o in chosen), chosen) for chosen in sets), key=lambda pair: pair[0])
    return sorted(((cost, option) for option, cost in costs.items()), key=lambda pair: pair[0])
