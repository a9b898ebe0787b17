"""Evolution towards a Pareto front: non-dominated sorting, crowding tournaments, survival of the best of old and new.

repeat   O ← vary(tournaments in P);   P ← the first µ of P ∪ O by front, then by crowding
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from mimar.core.ranges import Count, Range, validate
from mimar.core.streams import Draws
from mimar.objectives import order, utilities
from mimar.space import Architecture, Space, Trial, judged
from mimar.strategies.initial import Initial, Sampled
from mimar.strategies.parts import Proposal
from mimar.strategies.past import Known
from mimar.strategies.variation import Mutate, Variation

TRIES = 10  # children made before one that was asked for already is asked for again


@dataclass(frozen=True)
class NonDominated:
    """(µ + λ) evolution by dominance. `population`: how many begin; `parents` µ and `children` λ, by default as many.

    A tournament is won by front and crowding among the parents; `tournament` takes part in it, below 1 a share of them.
    Each architecture is one individual: measured again, it has its new values. `again`: the parents are measured again in
    every generation, before its children, for objectives that look at an individual's past. `beyond`: a child beyond the
    limits is made anew ("redraw") or lost to its generation ("drop"); beginners are made anew in any case. With one
    objective the front is the best value. Deb et al., "NSGA-II", 2002. Differs: nothing is asked for twice while
    another child can be found.
    """

    population: Count = 40
    parents: Count | None = None
    children: Count | None = None
    tournament: Annotated[float, Range(0.0, open_low=True)] = 2
    variation: Variation = Mutate()
    initial: Initial = Sampled()
    again: bool = False
    beyond: Literal["redraw", "drop"] = "redraw"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> NonDominatedSearcher:
        """Return a searcher at its beginning."""
        return NonDominatedSearcher(self, space, seed)


class NonDominatedSearcher:
    """Evolution by dominance at work: the parents, what was born in this generation, and what is still to be asked."""

    def __init__(self, part: NonDominated, space: Space, seed: int) -> None:
        self.part, self.space = part, space
        self.draws = Draws(seed, "nondominated")
        self.parents: list[Known] = []
        self.born: list[Known] = []
        self.renewed: list[Architecture] = []  # parents to be measured again, last first
        self.left = part.population  # of this generation, still to be asked
        self.waiting: list[Architecture] = []  # asked and not told
        self.seen: dict[Architecture, None] = {}
        self.asked = 0
        self._worth: list[float] | None = None

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals: beginners, then generation by generation."""
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal:
        self.asked += 1
        if not self.renewed and self.left <= 0:
            self._generation()
        if self.renewed:
            found = Proposal(self.renewed.pop(), meta={"again": True})
        else:
            self.left -= 1
            found = self._beginner() if not self.parents else self._child()
        self.waiting.append(found.architecture)
        self.seen[found.architecture] = None
        return found

    def _generation(self) -> None:
        everybody = [*self.parents, *self.born]
        most = self.part.parents or self.part.population
        self.parents = [everybody[i] for i in order([k.values for k in everybody])[:most]]
        self.born, self._worth = [], None
        self.renewed = [k.architecture for k in reversed(self.parents)] if self.part.again else []
        self.left = (self.part.children or self.part.population) if self.parents else self.part.population

    def _beginner(self) -> Proposal:
        found = self.part.initial(self.space, self.draws)
        for _ in range(TRIES):
            if found not in self.seen:
                break
            found = self.part.initial(self.space, self.draws)
        return Proposal(found)

    def _child(self) -> Proposal:
        for _ in range(TRIES):
            parent = self._winner()
            child, meta = self.part.variation(self.space, parent, self._winner, self.asked, self.draws)
            if child not in self.seen:
                break
        return Proposal(child, None, parent.digest, meta)

    def _winner(self) -> Known:
        if self._worth is None:
            self._worth = utilities([k.values for k in self.parents])
        size, asked, worth = len(self.parents), self.part.tournament, self._worth
        drawn = [self.draws.below(size) for _ in range(max(int(asked if asked >= 1 else asked * size), 1))]
        return self.parents[max(drawn, key=worth.__getitem__)]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Note what was born and what was measured again; what breaks a limit leaves its place to another."""
        for trial in trials:
            values, mine = judged(trial), trial.architecture in self.waiting
            if mine:
                self.waiting.remove(trial.architecture)
            if values is not None:
                self._enter(Known(trial.architecture, values, trial.proposal.fidelity))
            elif mine and trial.result.status == "infeasible" and (self.part.beyond == "redraw" or not self.parents):
                self.left += 1

    def _enter(self, one: Known) -> None:
        for group in (self.parents, self.born):
            place = next((i for i, k in enumerate(group) if k.architecture == one.architecture), None)
            if place is not None:
                group[place], self._worth = one, None
                return
        self.born.append(one)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "drawn": self.draws.drawn,
            "asked": self.asked,
            "left": self.left,
            "parents": [k.to_json() for k in self.parents],
            "born": [k.to_json() for k in self.born],
            "renewed": [dict(a) for a in self.renewed],
            "waiting": [dict(a) for a in self.waiting],
            "seen": [dict(a) for a in self.seen],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.draws.drawn, self.asked, self.left = int(state["drawn"]), int(state["asked"]), int(state["left"])
        self.parents = [Known.from_json(k) for k in state["parents"]]
        self.born = [Known.from_json(k) for k in state["born"]]
        self.renewed = [Architecture(a) for a in state["renewed"]]
        self.waiting = [Architecture(a) for a in state["waiting"]]
        self.seen = {Architecture(a): None for a in state["seen"]}
        self._worth = None
