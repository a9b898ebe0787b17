"""Brackets of successive halving: many start at a low fidelity, and from rung to rung the best 1/η go on."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Range, validate
from mimar.schedulers.parts import Ask, Job, Values
from mimar.schedulers.rungs import Ended, Rung, ladder, packed, ranked, unpacked
from mimar.space import Proposal

Eta = Annotated[int, Range(2)]
Design = tuple[tuple[Rung, ...], int]  # the rungs of a bracket, and how many begin


@dataclass(frozen=True)
class SuccessiveHalving:
    """Of `first` proposals at the lowest rung the best 1/η are measured again at the next one, and so on to the last.

        n_k = max(⌊first / η^k⌋, 1) at r·η^k;    first = η^K leaves one, and every rung costs the same: (K+1)·η^K·r in all

    `first`: None for η^K. `rungs`: how many, counted from the highest; None for all. A rung begins when the one before
    has ended; workers that would wait begin the next bracket, and so on until the budget ends. Who fails is never
    promoted. Karnin et al., 2013; Jamieson and Talwalkar, 2016.
    """

    eta: Eta = 3
    first: Count | None = None
    rungs: Annotated[int, Range(2)] | None = None
    several: ClassVar[bool] = True  # fidelities
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, fidelities: tuple[float, ...], seed: int) -> Brackets:
        """Return a course at its beginning. Raises UsageError where the evaluator has too few fidelities."""
        steps = ladder(fidelities, self.eta, "successive-halving")
        if self.rungs is not None and self.rungs > len(steps):
            offered = ", ".join(f"{step.fidelity:g}" for step in steps)
            raise UsageError(f"successive-halving has {len(steps)} rungs here ({offered}), not rungs={self.rungs}")
        steps = steps[-(self.rungs or len(steps)) :]
        first = self.first or self.eta ** (steps[-1].power - steps[0].power)
        return Brackets(((steps, first),), self.eta)


@dataclass(frozen=True)
class Hyperband:
    """Brackets that start lower with many and higher with few, one after the other and round again.

        bracket s = K, …, 0:    n = ⌈(K+1)/(s+1) · η^s⌉ proposals at R·η^-s, then successive halving

    A start is left out where the evaluator has no fidelity for it. Workers that would wait begin the next bracket. Li et
    al., JMLR 2018, algorithm 1.
    """

    eta: Eta = 3
    several: ClassVar[bool] = True  # fidelities
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, fidelities: tuple[float, ...], seed: int) -> Brackets:
        """Return a course at its beginning. Raises UsageError where the evaluator has fewer than two fidelities."""
        steps = ladder(fidelities, self.eta, "hyperband")
        top = steps[-1].power
        sizes = [-(-(top + 1) * self.eta ** (top - step.power) // (top - step.power + 1)) for step in steps]
        return Brackets(tuple((steps[i:], n) for i, n in enumerate(sizes)), self.eta)


class Brackets:
    """Brackets under way, oldest first; a free worker takes from the first that has a job, else begins another."""

    def __init__(self, designs: tuple[Design, ...], eta: int) -> None:
        self.designs, self.eta = designs, eta
        self.proposed = self.opened = 0
        self.open: list[_Bracket] = []
        self.home: dict[int, _Bracket] = {}  # of the jobs under way

    def next(self, ask: Ask) -> Job | None:
        """Return the next job of the open brackets, else the first of a new one."""
        fresh = _Bracket(self.designs, self.opened % len(self.designs), self.eta)
        found = ((bracket, bracket.next(ask, self.proposed)) for bracket in (*self.open, fresh))
        bracket, job = next(((b, j) for b, j in found if j is not None), (fresh, None))
        self.open = [b for b in self.open if not b.over]
        if job is None:
            return None
        if bracket is fresh:
            self.opened += 1
            self.open.append(fresh)
        self.proposed += job.since is None
        self.home[job.key] = bracket
        return job

    def told(self, job: Job, values: Values | None) -> None:
        """Note the values of a job, None where it failed."""
        self.home.pop(job.key).ended[str(job.key)] = values

    def state_dict(self) -> dict[str, Any]:
        """Return the open brackets and the counters."""
        home = [[key, self.open.index(bracket)] for key, bracket in self.home.items()]
        counters = {"proposed": self.proposed, "opened": self.opened}
        return {**counters, "open": [b.state_dict() for b in self.open], "home": home}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from them."""
        self.proposed, self.opened = int(state["proposed"]), int(state["opened"])
        self.open = [_Bracket(self.designs, data["design"], self.eta) for data in state["open"]]
        for bracket, data in zip(self.open, state["open"], strict=True):
            bracket.load_state_dict(data)
        self.home = {key: self.open[i] for key, i in state["home"]}


class _Bracket:
    """One bracket at its rung number `level`: `size` take part, `begun` of them have begun, `ended` says how."""

    PLAIN = ("design", "first", "level", "size", "begun", "waiting", "ended")  # as they are in JSON

    def __init__(self, designs: tuple[Design, ...], design: int, eta: int) -> None:
        (self.steps, self.first), self.design, self.eta = designs[design], design, eta
        self.level, self.size, self.begun, self.over = 0, self.first, 0, False
        self.waiting: list[int] = []
        self.ended: Ended = {}
        self.proposals: dict[int, Proposal] = {}

    def next(self, ask: Ask, key: int) -> Job | None:
        """Return the next job; `key` is for a new proposal. None while the rung is under way, and at the end."""
        while not self.over:
            under_way = self.begun - len(self.ended)
            if self.begun < self.size and self.level > 0:
                return self._begin(self.waiting.pop(0))
            if self.begun < self.size:
                if (proposal := ask()) is not None:
                    self.proposals[key] = proposal
                    return self._begin(key)
                if not under_way:  # else there may be more once the others are told
                    self.first = self.size = self.begun
            if under_way:
                return None
            self._rise()
        return None

    def _begin(self, key: int) -> Job:
        self.begun += 1
        since = self.steps[self.level - 1].fidelity if self.level else None
        return Job(self.proposals[key], self.steps[self.level].fidelity, since, key)

    def _rise(self) -> None:
        """Go on to the next rung with the best of this one; over where there is none of either."""
        self.level += 1
        best = ranked(self.ended)
        self.over = self.level == len(self.steps) or not best
        if not self.over:
            wanted = self.first // self.eta ** (self.steps[self.level].power - self.steps[0].power)
            self.waiting = best[: max(wanted, 1)]
            self.size, self.begun, self.ended = len(self.waiting), 0, {}
            self.proposals = {key: self.proposals[key] for key in self.waiting}

    def state_dict(self) -> dict[str, Any]:
        return {name: copy(getattr(self, name)) for name in self.PLAIN} | {"proposals": packed(self.proposals)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self.PLAIN:
            setattr(self, name, copy(state[name]))
        self.proposals = unpacked(state["proposals"])
