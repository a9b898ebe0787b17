"""Evolution by tournaments: a parent is the best of a random sample of the population, a child a variation of it.

repeat   S ~ population, with replacement;   child = vary(best of S);   population ← population + child − who dies
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from mimar.core.ranges import Count, Range, validate
from mimar.core.streams import Draws
from mimar.objectives import utilities
from mimar.space import Space, judged
from mimar.strategies.initial import Initial, Sampled
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Known
from mimar.strategies.variation import Mutate, Variation


@dataclass(frozen=True)
class Evolution:
    """Tournament evolution. `sample`: how many take part in a tournament; a number below 1 is a share of the population.

    `death`: "oldest" is regularised evolution (Real et al., 2019), "worst" the classical one, "none" lets everybody live
    (Liu et al., 2018). The first `population` proposals are made by `initial`. Several objectives: a tournament is won
    by front and crowding among its members. What fails or breaks a limit never enters the population.
    """

    population: Count = 100
    sample: Annotated[float, Range(0.0, open_low=True)] = 25
    death: Literal["oldest", "worst", "none"] = "oldest"
    variation: Variation = Mutate()
    initial: Initial = Sampled()
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> EvolutionSearcher:
        """Return a searcher at its beginning."""
        return EvolutionSearcher(self, space, seed)


class EvolutionSearcher:
    """Evolution at work: the population, oldest first."""

    def __init__(self, part: Evolution, space: Space, seed: int) -> None:
        self.part, self.space = part, space
        self.draws = Draws(seed, "evolution")
        self.asked = 0
        self.population: list[Known] = []

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals: random ones until the population is asked for, children after."""
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal:
        self.asked += 1
        if self.asked <= self.part.population or not self.population:
            return Proposal(self.part.initial(self.space, self.draws))
        parent = self._winner()
        child, meta = self.part.variation(self.space, parent, self._winner, self.asked, self.draws)
        return Proposal(child, None, parent.digest, meta)

    def _winner(self) -> Known:
        size, draws, population = len(self.population), self.draws, self.population
        asked = self.part.sample
        drawn = [population[draws.below(size)] for _ in range(max(int(asked if asked >= 1 else asked * size), 1))]
        if len(drawn[0].values) == 1:
            return max(drawn, key=_value)
        worth = utilities([k.values for k in drawn])
        return drawn[max(range(len(drawn)), key=worth.__getitem__)]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Let those that can be judged into the population, and one out for each that is too many."""
        for trial in trials:
            values = judged(trial)
            if values is None:
                continue
            one = Known(trial.architecture, values, trial.proposal.fidelity)
            if trial.since is not None and (place := self._place(one)) is not None:
                self.population[place] = one
                continue
            self.population.append(one)
            if len(self.population) > self.part.population and self.part.death != "none":
                del self.population[0 if self.part.death == "oldest" else self._worst()]

    def _place(self, one: Known) -> int | None:
        """Return where the lower fidelity of a proposal lives; it may be dead."""
        return next((i for i, k in enumerate(self.population) if k.architecture == one.architecture), None)

    def _worst(self) -> int:
        worth = utilities([k.values for k in self.population])
        return min(range(len(worth)), key=worth.__getitem__)

    def state_dict(self) -> dict[str, Any]:
        """Return the population and the counters."""
        return {
            "asked": self.asked,
            "drawn": self.draws.drawn,
            "population": [k.to_json() for k in self.population],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from them."""
        self.asked, self.draws.drawn = int(state["asked"]), int(state["drawn"])
        self.population = [Known.from_json(k) for k in state["population"]]


def _value(one: Known) -> float:
    return one.values[0]
