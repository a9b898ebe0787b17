"""Differential evolution in the unit cube: steps are differences between members of the population.

    v = x₁ + F (x₂ − x₃);   u = v where a coin of rate Cr says so (once at least), else x;   x ← u if f(u) ≥ f(x)

Points are never rounded: a point of the cube stands for the architecture of the shares in which it lies, so that x keeps
its direction within an option. NP points, C choices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

from mimar.core.ranges import Fraction, Range, validate
from mimar.core.streams import Draws
from mimar.objectives import utilities
from mimar.space import Architecture, Space, judged
from mimar.space.encoding import from_point, to_point
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Known

TRIES = 100  # points drawn before an architecture is sampled instead, where constraints forbid most of the cube
LEAST = 4  # one to be replaced and three others

Point = list[float]


@dataclass(frozen=True)
class DifferentialEvolution:
    """rand/1/bin with synchronous generations: all NP children are asked for before the first replaces its parent.

    `population` NP, `factor` F, `crossover` Cr. Coordinates outside of [0, 1] are drawn anew; a child as good as its
    parent replaces it. Several objectives: a child must be no worse by front and crowding among parents and children.
    Storn and Price, 1997; Awad, Mallik and Hutter, 2020. With several workers a generation begins while children of the
    one before are still measured; they meet their parents when they are done.
    """

    population: Annotated[int, Range(LEAST)] = 20
    factor: Annotated[float, Range(0.0, 2.0)] = 0.5
    crossover: Fraction = 0.5
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> DifferentialSearcher:
        """Return a searcher at its beginning."""
        return DifferentialSearcher(self, space, seed)


class Child(NamedTuple):
    """A point on its way: whose place it may take (None: it is of the first population), and when it was made."""

    target: int | None
    generation: int
    point: Point
    architecture: Architecture


class Member(NamedTuple):
    """A point of the population with its figures."""

    point: Point
    known: Known


class DifferentialSearcher:
    """Differential evolution at work."""

    def __init__(self, part: DifferentialEvolution, space: Space, seed: int) -> None:
        self.part, self.space = part, space
        self.draws = Draws(seed, "differential evolution")
        self.population: list[Member] = []
        self.waiting: list[Child] = []  # asked and not told
        self.born: list[tuple[int, Member]] = []  # told, until their generation ends
        self.generation, self.next = 0, 0

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals: random points first, then a child for each member in turn."""
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal:
        coming = sum(child.target is None for child in self.waiting)
        if len(self.population) < LEAST or len(self.population) + coming < self.part.population:
            return self._asked(None, *self._fresh())
        if self.next >= len(self.population):
            self._select(self.born)
            self.born, self.next, self.generation = [], 0, self.generation + 1
        self.next += 1
        return self._asked(self.next - 1, *self._mutant(self.next - 1))

    def _asked(self, target: int | None, point: Point, architecture: Architecture) -> Proposal:
        self.waiting.append(Child(target, self.generation, point, architecture))
        return Proposal(architecture, None, None if target is None else self.population[target].known.digest)

    def _fresh(self) -> tuple[Point, Architecture]:
        for _ in range(TRIES):
            point = self.draws.uniforms(len(self.space.ordered))
            found = from_point(self.space, point)
            if self.space.allows(found):
                return point, found
        found = self.space.sample(self.draws)
        return to_point(self.space, found), found

    def _mutant(self, target: int) -> tuple[Point, Architecture]:
        draws, rate = self.draws, self.part.crossover
        own = self.population[target].point
        others = len(self.population) - 1
        for _ in range(TRIES):
            drawn = [i + (i >= target) for i in draws.sample(others, 3)]
            first, second, third = (self.population[i].point for i in drawn)
            steps = (a + self.part.factor * (b - c) for a, b, c in zip(first, second, third, strict=True))
            mutant = [v if 0.0 <= v <= 1.0 else draws.uniform() for v in steps]
            coins = [u < rate for u in draws.uniforms(len(own))]
            if own and not any(coins):
                coins[draws.below(len(own))] = True
            point = [v if coin else x for v, coin, x in zip(mutant, coins, own, strict=True)]
            found = from_point(self.space, point)
            if self.space.allows(found):
                return point, found
        return self._fresh()

    def tell(self, trials: Sequence[Trial]) -> None:
        """Let the first ones in, and children meet their parents: now if their generation is over, else at its end."""
        for trial in trials:
            values, child = judged(trial), self._claimed(trial.architecture)
            if values is None:
                continue
            known = Known(trial.architecture, values, trial.proposal.fidelity)
            if trial.since is not None and self._measured_on(known):
                continue
            if child is None or child.target is None:
                point = child.point if child else to_point(self.space, trial.architecture)
                self._join(Member(point, known))
            elif child.generation == self.generation:
                self.born.append((child.target, Member(child.point, known)))
            else:
                self._select([(child.target, Member(child.point, known))])

    def _claimed(self, architecture: Architecture) -> Child | None:
        """Take the first child of this architecture from those that wait."""
        place = next((i for i, child in enumerate(self.waiting) if child.architecture == architecture), None)
        return None if place is None else self.waiting.pop(place)

    def _measured_on(self, known: Known) -> bool:
        """Give the figures of a higher fidelity to the point that has those of a lower one; tell whether it lives."""
        for i, member in enumerate(self.population):
            if member.known.architecture == known.architecture:
                self.population[i] = Member(member.point, known)
                return True
        for i, (target, member) in enumerate(self.born):
            if member.known.architecture == known.architecture:
                self.born[i] = (target, Member(member.point, known))
                return True
        return False

    def _join(self, member: Member) -> None:
        """Take a newcomer in: while there is room, then in the place of the worst where it is no worse."""
        if len(self.population) < self.part.population:
            self.population.append(member)
            return
        worth = utilities([m.known.values for m in self.population])
        self._select([(min(range(len(worth)), key=worth.__getitem__), member)])

    def _select(self, children: Sequence[tuple[int, Member]]) -> None:
        everybody = [*self.population, *(member for _, member in children)]
        worth = utilities([m.known.values for m in everybody])
        for (target, member), value in zip(children, worth[len(self.population) :], strict=True):
            if value >= worth[target]:
                self.population[target], worth[target] = member, value

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "drawn": self.draws.drawn,
            "population": [[m.point, m.known.to_json()] for m in self.population],
            "waiting": [[c.target, c.generation, c.point, dict(c.architecture)] for c in self.waiting],
            "born": [[target, m.point, m.known.to_json()] for target, m in self.born],
            "generation": self.generation,
            "next": self.next,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.draws.drawn, self.generation, self.next = int(state["drawn"]), state["generation"], state["next"]
        self.population = [Member(list(point), Known.from_json(known)) for point, known in state["population"]]
        self.waiting = [Child(t, g, list(point), Architecture(a)) for t, g, point, a in state["waiting"]]
        self.born = [(target, Member(list(point), Known.from_json(known))) for target, point, known in state["born"]]
