"""The derivation of DARTS: keep what has the largest gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mimar.space import Architecture, Choice, Space


@dataclass(frozen=True)
class Strongest:
    """Each choice takes its option with the largest gate, never one of its `never` options (DARTS' `none`).

    A choice of kind `some` takes the k candidates of largest strength, gate × the largest permitted gate among the
    choices that hang on the candidate: in the DARTS space the two incoming edges with the strongest operation.
    Ties go to the earlier option. Source: DARTS (2019), section 2.4.
    """

    version: ClassVar[int] = 1

    def __call__(self, space: Space, gates: Mapping[str, Tensor]) -> Architecture:
        """Return the derived architecture; choices that it makes inactive are absent from it."""
        strong = strengths(space, gates)
        chosen: dict[str, Any] = {}
        for choice in _parents_first(space):
            if choice.active(chosen):
                chosen[choice.name] = _best(choice, strong[choice.name])
        return Architecture(chosen)


def strengths(space: Space, gates: Mapping[str, Tensor]) -> dict[str, dict[Any, float]]:
    """Return {choice: {permitted option: strength}}; what `Strongest` ranks by."""
    found: dict[str, dict[Any, float]] = {}
    for choice in reversed(
        _parents_first(space)
    ):  # children before parents: a candidate is as strong as what hangs on it
        gate = gates.get(choice.name, torch.ones(len(choice.options))).tolist()
        found[choice.name] = {o: p for o, p in zip(choice.options, gate, strict=True) if o not in choice.never}
        if choice.kind == "some":
            for option in found[choice.name]:
                below = [c.name for c in space.choices if (choice.name, option) in c.when]
                if below:
                    found[choice.name][option] *= max(max(found[n].values()) for n in below)
    return found


def _best(choice: Choice, strength: dict[Any, float]) -> Any:
    ranked = sorted(strength, key=lambda o: -strength[o])  # stable: ties keep the order of the options
    if choice.kind != "some":
        return ranked[0]
    kept = set(ranked[: choice.k])
    return tuple(o for o in choice.options if o in kept)


def _parents_first(space: Space) -> list[Choice]:
    done: dict[str, Choice] = {}
    waiting = list(space.choices)
    while waiting:
        ready = [c for c in waiting if all(parent in done for parent, _ in c.when)]
        done.update({c.name: c for c in ready})
        waiting = [c for c in waiting if c.name not in done]
    return list(done.values())
