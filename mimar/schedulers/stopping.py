"""Schedulers without rounds: each result alone decides whether its proposal goes on, and nobody waits for anybody."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Literal

from mimar.core.ranges import Count, validate
from mimar.objectives import utilities
from mimar.schedulers.halving import Eta
from mimar.schedulers.parts import Ask, Job, Values
from mimar.schedulers.rungs import ladder, packed, ranked, several, unpacked
from mimar.space import Proposal


@dataclass(frozen=True)
class ASHA:
    """Asynchronous successive halving over the rungs r·η^k.

    `kind="promote"`: a free worker takes the best of the highest rung that is among the ⌊n/η⌋ best of the n measured
    there and was not promoted yet; where there is none, a new proposal at the lowest rung. Who fails counts among the n
    and is never promoted. Li et al., MLSys 2020, algorithm 2. `kind="stop"`: a proposal goes on at once while its value
    is not below the quantile 1 − 1/η (linear interpolation) of what its rung has seen so far, its own included. Klein et
    al., 2020. Several objectives: by their `utilities` among what the rung has seen.
    """

    eta: Eta = 3
    kind: Literal["promote", "stop"] = "promote"
    several: ClassVar[bool] = True  # fidelities
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, fidelities: tuple[float, ...], seed: int) -> Climbs:
        """Return a course at its beginning. Raises UsageError where the evaluator has fewer than two fidelities."""
        steps = ladder(fidelities, self.eta, "asha")
        shares = [self.eta ** (b.power - a.power) for a, b in pairwise(steps)]
        rule = _Promotion(shares) if self.kind == "promote" else _Going(len(shares), partial(_in_quantile, shares))
        return Climbs(tuple(step.fidelity for step in steps), rule)


@dataclass(frozen=True)
class MedianStopping:
    """Every proposal goes on from fidelity to fidelity while it is not clearly worse than the others were there.

    It ends where its best value so far is below the median, over the others that came as far, of their mean values up to
    there. `grace`: fidelities that everybody is measured at; `others`: how many there must be to compare with. Golovin et
    al., "Google Vizier", KDD 2017, section 3.2.1, where the others are those that have ended. Several objectives: where
    its utility is below the median of theirs, at this fidelity alone.
    """

    grace: Count = 1
    others: Count = 5
    several: ClassVar[bool] = True  # fidelities
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, fidelities: tuple[float, ...], seed: int) -> Climbs:
        """Return a course at its beginning. Raises UsageError where the evaluator has fewer than two fidelities."""
        steps = several(fidelities, "median-stopping")
        return Climbs(steps, _Going(len(steps) - 1, partial(_above_median, self)))


class Climbs:
    """Proposals that go on from level to level by a rule; where none does, a free worker takes a new one.

    The rule's `next` gives the key of one that goes on and its new level, `told` whether one may ever go on; all that
    changes in it is `memory`, as JSON.
    """

    def __init__(self, steps: tuple[float, ...], rule: _Promotion | _Going) -> None:
        self.steps, self.rule = steps, rule
        self.proposed = 0
        self.proposals: dict[int, Proposal] = {}  # those that may go on

    def next(self, ask: Ask) -> Job | None:
        """Return one that goes on, else a new proposal."""
        if found := self.rule.next():
            key, level = found
            return Job(self.proposals[key], self.steps[level], self.steps[level - 1], key)
        if (proposal := ask()) is None:
            return None
        self.proposals[self.proposed] = proposal
        self.proposed += 1
        return Job(proposal, self.steps[0], None, self.proposed - 1)

    def told(self, job: Job, values: Values | None) -> None:
        """Note the values of a job, None where it failed."""
        level = next(i for i, fidelity in enumerate(self.steps) if fidelity == job.fidelity)
        if level + 1 == len(self.steps) or not self.rule.told(level, job.key, values):
            del self.proposals[job.key]

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {"proposed": self.proposed, "proposals": packed(self.proposals), "memory": deepcopy(self.rule.memory)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.proposed, self.proposals = int(state["proposed"]), unpacked(state["proposals"])
        self.rule.memory = deepcopy(state["memory"])


class _Promotion:
    """The best 1/share of a level, whenever a worker is free."""

    def __init__(self, shares: list[int]) -> None:
        self.shares = shares
        self.memory: dict[str, Any] = {"ended": [{} for _ in shares], "promoted": [[] for _ in shares]}

    def next(self) -> tuple[int, int] | None:
        for level in reversed(range(len(self.shares))):
            ended, promoted = self.memory["ended"][level], self.memory["promoted"][level]
            top = ranked(ended)[: len(ended) // self.shares[level]]
            key = next((key for key in top if key not in promoted), None)
            if key is not None:
                promoted.append(key)
                return key, level + 1
        return None

    def told(self, level: int, key: int, values: Values | None) -> bool:
        self.memory["ended"][level][str(key)] = values
        return values is not None


class _Going:
    """Those that pass a test go on at once."""

    def __init__(self, levels: int, test: Callable[[dict[str, Any], int, str, Values], bool]) -> None:
        self.test = test
        self.memory: dict[str, Any] = {"going": [], "seen": [[] for _ in range(levels)], "past": {}}

    def next(self) -> tuple[int, int] | None:
        return tuple(self.memory["going"].pop(0)) if self.memory["going"] else None

    def told(self, level: int, key: int, values: Values | None) -> bool:
        passes = values is not None and self.test(self.memory, level, str(key), values)
        if passes:
            self.memory["going"].append([key, level + 1])
        if not passes or level + 1 == len(self.memory["seen"]):
            self.memory["past"].pop(str(key), None)
        return passes


def _in_quantile(shares: list[int], memory: dict[str, Any], level: int, key: str, values: Values) -> bool:
    """Tell whether values are among the best 1/share of their level."""
    memory["seen"][level].append(values)
    worth, share = utilities(memory["seen"][level]), shares[level]
    low, part = divmod(
        (len(worth) - 1) * (share - 1), share
    )  # whole numbers: at the quantile itself nothing is rounded
    ordered = sorted(worth)
    between = part / share * (ordered[low + 1] - ordered[low]) if part else 0.0
    return worth[-1] >= ordered[low] + between


def _above_median(part: MedianStopping, memory: dict[str, Any], level: int, key: str, values: Values) -> bool:
    """Tell whether the best so far is not below the median of the others' means; `past` has the sum and the best by key."""
    seen: list[Values] = memory["seen"][level]
    if len(values) == 1:
        total, best = memory["past"].get(key, (0.0, values[0]))
        total, mine = total + values[0], max(best, values[0])
        memory["past"][key] = [total, mine]
        values, others = (total / (level + 1),), [v[0] for v in seen]
    else:
        *others, mine = utilities([*seen, values])
    seen.append(values)
    return level + 1 < part.grace or len(others) < part.others or mine >= statistics.median(others)
