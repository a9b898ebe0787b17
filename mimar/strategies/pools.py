"""Where candidates come from that a model is to choose among: {architecture: its parent, or None}.

Everything keeps to the limits on known costs, where the search has told them, and to the space that is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from mimar.core.ranges import Count, Fraction, Whole, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.space.counting import count

Candidates = dict[Architecture, Architecture | None]
Scores = np.ndarray[Any, Any]
Child = tuple[Architecture, Architecture | None]
TRIES = 20  # draws a wanted candidate, before fewer are returned


class Scene(NamedTuple):
    """What a pool may look at: `best` are the measured architectures, best first, `score` is what the model makes of others.

    `allowed` is None where nothing is limited; `rounds` counts the batches before this one.
    """

    space: Space
    draws: Draws
    best: Sequence[Architecture] = ()
    score: Callable[[Sequence[Architecture]], Scores] | None = None
    allowed: Callable[[Architecture], bool] | None = None
    rounds: int = 0

    def draw(self, n: int, into: Candidates) -> Candidates:
        """Add n random architectures to `into`, fewer where no others are found."""
        return self.fill(into, n, lambda: (self.space.sample(self.draws), None))

    def fill(self, into: Candidates, n: int, make: Callable[[], Child]) -> Candidates:
        """Add n different allowed architectures that `make` makes, fewer where no others are found."""
        wanted = len(into) + n
        for _ in range(TRIES * n):
            if len(into) >= wanted:
                break
            arch, parent = make()
            if arch not in into and (self.allowed is None or self.allowed(arch)):
                into[arch] = parent
        return into


class Pool(Protocol):
    """A source of candidates."""

    def __call__(self, scene: Scene, n: int) -> Candidates:
        """Return about n candidates."""
        ...


@dataclass(frozen=True)
class Sampled:
    """Random architectures of the space."""

    version: ClassVar[int] = 1

    def __call__(self, scene: Scene, n: int) -> Candidates:
        """Return n different ones."""
        return scene.draw(n, {})


@dataclass(frozen=True)
class Everything:
    """All architectures of a space that has at most `most` (none: n, as many as are asked for); of a larger one, n random ones."""

    most: Count | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, scene: Scene, n: int) -> Candidates:
        """Return them in the order of the space."""
        if count(scene.space.ordered) > (self.most or n):
            return scene.draw(n, {})
        allowed = scene.allowed
        return {a: None for a in scene.space.enumerate() if allowed is None or allowed(a)}


@dataclass(frozen=True)
class Quasirandom:
    """A scrambled Sobol sequence in the unit cube, decoded: it leaves smaller gaps than independent draws.

    Priors of choices do not count. A point that violates a constraint is replaced by a random architecture.
    """

    version: ClassVar[int] = 1

    def __call__(self, scene: Scene, n: int) -> Candidates:
        """Return n different ones, fewer where no others are found."""
        from torch.quasirandom import SobolEngine

        ordered, space = scene.space.ordered, scene.space
        points = iter(SobolEngine(len(ordered), scramble=True, seed=scene.draws.bits() >> 33).draw(TRIES * n).tolist())

        def make() -> Child:
            place = dict(zip([c.name for c in ordered], next(points, [0.5] * len(ordered)), strict=True))
            arch = space.complete({}, lambda choice: choice.at(place[choice.name]))
            return (arch if space.allows(arch) else space.sample(scene.draws)), None

        return scene.fill({}, n, make)


@dataclass(frozen=True)
class Mutants:
    """A `share` of mutants of the `best` measured architectures, one decision each; the rest are random."""

    share: Fraction = 0.5
    best: Count = 10
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, scene: Scene, n: int) -> Candidates:
        """Return n different ones."""
        space, draws, parents = scene.space, scene.draws, list(scene.best[: self.best])
        wanted = round(self.share * n) if parents else 0

        def make() -> Child:
            parent = draws.choice(parents)
            return space.mutate(parent, draws), parent

        return scene.draw(n - wanted, scene.fill({}, wanted, make))


@dataclass(frozen=True)
class Bred:
    """The last population of a genetic search that asks the model alone.

    It begins with the `best` measured and random architectures, n in all. A generation makes n children, mutants or crosses
    of two members at even odds; the n members of best score live. It ends after `generations`, or `patience` of them without
    a better best one. Dai et al., "FBNetV3", CVPR 2021, algorithm 1, second stage.
    """

    generations: Count = 20
    patience: Count = 3
    best: Count = 20
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, scene: Scene, n: int) -> Candidates:
        """Return the last population, best first."""
        space, draws = scene.space, scene.draws
        living: Candidates = dict.fromkeys(scene.best[: min(self.best, n)])
        living = scene.draw(n - len(living), living)
        if scene.score is None or not living:
            return living
        living, top = self._fittest(scene, living, n)
        still = 0
        for _ in range(self.generations):
            members = list(living)

            def make(members: list[Architecture] = members) -> Child:
                a, b = draws.choice(members), draws.choice(members)
                cross = draws.uniform() < 0.5 and a != b
                return (space.crossover(a, b, draws) if cross else space.mutate(a, draws)), a

            living, now = self._fittest(scene, scene.fill(living, n, make), n)
            still = 0 if now > top else still + 1
            top = max(now, top)
            if still >= self.patience:
                break
        return living

    @staticmethod
    def _fittest(scene: Scene, living: Candidates, n: int) -> tuple[Candidates, float]:
        assert scene.score is not None
        members = list(living)
        scores = scene.score(members)
        order = np.argsort(-scores, kind="stable")[:n].tolist()
        return {members[i]: living[members[i]] for i in order}, float(scores[order[0]])


@dataclass(frozen=True)
class Staged:
    """One pool for the first `rounds` batches, another one for all after."""

    first: Pool = Quasirandom()
    rounds: Whole = 4
    then: Pool = Bred()
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, scene: Scene, n: int) -> Candidates:
        """Return what the pool of the time returns."""
        return (self.first if scene.rounds < self.rounds else self.then)(scene, n)
