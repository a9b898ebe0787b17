"""One small bandit a decision: its arms are the options, and all arms of an architecture are paid what it is worth.

    μ(a) = mean y of the measured architectures that take arm a;   n(a) how many these are;   N all of them
    index(a) = μ(a) + z α ρ^N √(2 ln N / n(a)),   z uniform in [0, 1], drawn for each decision anew
    naive assumption:   y(architecture) ≈ const + Σ over its decisions of μ(their arms)

y is the rank of a value among all, in [0, 1]; what failed is ranked last. Decisions are made parents first; under the
naive assumption what is known of an arm does not depend on the decisions above it. z is there because bandits that are
paid alike move alike: with z = 1 all decisions change arms at the same moment, and the few products they pull together for
ever say nothing of single arms. For the same reason arms of equal index are told apart at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mimar.core.quantiles import quantiles
from mimar.core.ranges import Count, Fraction, NonNegative, validate
from mimar.core.streams import Draws
from mimar.objectives import utilities
from mimar.space import Architecture, Choice, Space
from mimar.strategies.arms import arm, arms, pulled
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Past

Array = np.ndarray[Any, Any]
Partial = tuple[float, dict[str, Any]]  # the sum of indices so far, and what was decided
TRIES = 50  # explorations that are drawn for one that was not measured
WIDTHS = (16, 64, 256, 1024, 4096)  # best products that are looked through for one that was not measured


@dataclass(frozen=True)
class Bandits:
    """Bandits that decide together. A proposal is one of these, after `initial` random ones:

    with probability `greedy` the product of best index of all that were not measured; else each decision apart, with
    probability `local` a random arm, and otherwise that of best index. `exploration`: α; `decay`: ρ. Epsilon-greedy naive
    sampling has α = 0, upper confidence bounds have local = greedy = 0. `repeat`: whether an architecture may be measured
    again, for evaluators that are noisy or still learn. `scale`: y is a rank, or the "value" itself.
    Ontañón, "The combinatorial multi-armed bandit problem", 2013; Huang et al., "Neural architecture search via
    combinatorial multi-armed bandit", 2021.
    """

    local: Fraction = 0.3
    greedy: Fraction = 0.4
    exploration: NonNegative = 0.0
    decay: Fraction = 1.0
    initial: Count = 10
    scale: Literal["rank", "value"] = "rank"
    repeat: bool = False
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> BanditSearcher:
        """Return a searcher at its beginning."""
        return BanditSearcher(self, space, seed)


class BanditSearcher:
    """Bandits at work: all they know follows from what was told."""

    def __init__(self, part: Bandits, space: Space, seed: int) -> None:
        self.part, self.space = part, space
        self.draws = Draws(seed, "bandits")
        self.past = Past()
        self.failed: list[Architecture] = []
        self.seen: set[Architecture] = set()
        self.asked = 0
        self.first: dict[str, int] = {}  # the number of a choice's first arm, all arms in a row
        self.count = 0
        for choice in space.ordered:
            self.first[choice.name] = self.count
            self.count += arms(choice)
        self.codes: dict[Architecture, Array] = {}

    # -- what is known -----------------------------------------------------------------------------------------------

    def standing(self) -> tuple[Array, Array]:
        """Return the mean y and the pulls of all arms, those of one choice after the other, in `space.ordered`."""
        known = self.past.top(self.part.initial)
        worth = utilities([k.values for k in known])
        least = min(worth, default=0.0) if self.part.scale == "value" else -math.inf
        figures = [*worth, *[least] * len(self.failed)]
        y = quantiles(figures) if self.part.scale == "rank" and figures else np.asarray(figures, dtype=np.float64)
        codes = [self._code(a) for a in (*(k.architecture for k in known), *self.failed)]
        flat = np.concatenate(codes) if codes else np.zeros(0, dtype=np.int64)
        paid = np.repeat(y, [len(c) for c in codes])
        pulls = np.bincount(flat, minlength=self.count)
        return np.bincount(flat, weights=paid, minlength=self.count) / np.maximum(pulls, 1), pulls

    def _code(self, architecture: Architecture) -> Array:
        found = self.codes.get(architecture)
        if found is None:
            held = (c for c in self.space.ordered if c.name in architecture)
            numbers = [self.first[c.name] + arm(c, architecture[c.name]) for c in held]
            found = self.codes[architecture] = np.asarray(numbers, dtype=np.int64)
        return found

    def bounds(self) -> tuple[Array, Array]:
        """Return the mean of every arm and its bonus α ρ^N √(2 ln N / n); arms never pulled have means above all others."""
        mean, pulls = self.standing()
        told = self._told
        bonus = (
            self.part.exploration * self.part.decay**told * np.sqrt(2 * math.log(max(told, 1)) / np.maximum(pulls, 1))
        )
        best = float((mean + bonus).max(initial=0.0))
        return np.where(pulls > 0, mean, best + 1.0), np.where(pulls > 0, bonus, 0.0)

    def _indices(self) -> dict[str, Array]:
        """Return the index of every arm by choice."""
        mean, bonus = self.bounds()
        found = {}
        for choice in self.space.ordered:
            own = slice(self.first[choice.name], self.first[choice.name] + arms(choice))
            found[choice.name] = mean[own] + self.draws.uniform() * bonus[own]
        return found

    def greedy(self) -> Architecture:
        """Return the product of the arms of best mean, what the bandits would answer; arms never pulled are left out."""
        mean, pulls = self.standing()
        mean = np.where(pulls > 0, mean, -1.0 + mean.min(initial=0.0))
        index = {c.name: mean[self.first[c.name] : self.first[c.name] + arms(c)] for c in self.space.ordered}
        return next(self._products(index, WIDTHS[0]), None) or self.space.sample(self.draws)

    # -- proposals ---------------------------------------------------------------------------------------------------

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals."""
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal:
        self.asked += 1
        if self.asked <= self.part.initial or not self._told:
            found = self._anywhere()
        else:
            index = self._indices()
            product = self.draws.uniform() < self.part.greedy
            found = (None if product else self._apart(index)) or self._best(index) or self._anywhere()
        self.seen.add(found)
        return Proposal(found)

    @property
    def _told(self) -> int:
        return len(self.past) + len(self.failed)

    def _anywhere(self) -> Architecture:
        for _ in range(TRIES):
            found = self.space.sample(self.draws)
            if self._fresh(found):
                break
        return found

    def _fresh(self, architecture: Architecture) -> bool:
        return self.part.repeat or architecture not in self.seen

    def _apart(self, index: Mapping[str, Array]) -> Architecture | None:
        """Return an architecture whose decisions were made apart; None where all that were drawn had been measured."""
        for _ in range(TRIES if self.part.local else 1):
            found = self.space.complete({}, lambda choice: self._pulled(choice, index[choice.name]))
            if self._fresh(found) and self.space.allows(found):
                return found
        return None

    def _pulled(self, choice: Choice, index: Array) -> Any:
        if self.draws.uniform() < self.part.local:
            return pulled(choice, self.draws.below(len(index)), self.draws.uniform())
        best = self.draws.choice(np.flatnonzero(index == index.max()).tolist())
        return pulled(choice, best, self.draws.uniform())

    def _best(self, index: Mapping[str, Array]) -> Architecture | None:
        """Return the product of best index that was not measured; None where there is none among the best 4,096."""
        for width in WIDTHS:
            for found in self._products(index, width):
                if self._fresh(found):
                    return found
        return None

    def _products(self, index: Mapping[str, Array], width: int) -> Iterator[Architecture]:
        """Yield the `width` products of largest sum of indices, best first, equal ones in random order.

        A beam over the decisions: exact where no choice is conditional, since the beginning of one of the best is one of
        the best beginnings. What is active adds how far its arm lies above the mean of its choice, what is not, nothing.
        """
        beam: list[Partial] = [(0.0, {})]
        for choice in self.space.ordered:
            above = (
                index[choice.name] - index[choice.name].mean() + 1e-9 * np.asarray(self.draws.uniforms(arms(choice)))
            )
            gains, grown = above.tolist(), []
            for total, made in beam:
                if choice.active(made):
                    grown += [(total + gain, made, number) for number, gain in enumerate(gains)]
                else:
                    grown.append((total, made, -1))
            grown.sort(key=lambda g: -g[0])
            beam = [
                (g, m if k < 0 else {**m, choice.name: pulled(choice, k, self.draws.uniform())})
                for g, m, k in grown[:width]
            ]
        for _, made in beam:
            found = Architecture.trusted(made)
            if self.space.allows(found):
                yield found

    # -- results -----------------------------------------------------------------------------------------------------

    def tell(self, trials: Sequence[Trial]) -> None:
        """Pay the arms of what was measured; those of what failed or breaks a limit are paid the least."""
        for trial in trials:
            self.seen.add(trial.architecture)
            if self.past.add(trial) is None:
                self.failed.append(trial.architecture)

    def state_dict(self) -> dict[str, Any]:
        """Return what was asked and told, as JSON."""
        return {
            "drawn": self.draws.drawn,
            "asked": self.asked,
            "past": self.past.state_dict(),
            "failed": [dict(a) for a in self.failed],
            "seen": sorted((dict(a) for a in self.seen), key=str),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.draws.drawn, self.asked = int(state["drawn"]), int(state["asked"])
        self.past.load_state_dict(state["past"])
        self.failed = [Architecture(a) for a in state["failed"]]
        self.seen = {Architecture(a) for a in state["seen"]}
