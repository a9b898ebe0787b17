"""Local search: from a random architecture, go to a better neighbour until there is none, then begin anew elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mimar.core.ranges import Count, validate
from mimar.core.streams import Draws
from mimar.objectives import dominates
from mimar.space import Architecture, Space, judged
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Known

TRIES = 100  # random architectures drawn before a start that was measured already is taken all the same


@dataclass(frozen=True)
class LocalSearch:
    """Hill climbing over the neighbours of the space, which differ in one decision, in random order.

    The first neighbour that is better becomes the centre (with several objectives: that dominates it, or is better in a
    random one where neither dominates). A centre all of whose neighbours were measured is a local optimum; the next
    starts are `starts` random architectures, of which the best becomes the centre. Nothing is measured twice.
    White et al., "Exploring the loss landscape in neural architecture search", UAI 2021.
    """

    starts: Count = 1
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> LocalSearcher:
        """Return a searcher at its beginning."""
        return LocalSearcher(self, space, seed)


class LocalSearcher:
    """Local search at work: the centre, the neighbours still to be asked, and everything that was asked."""

    def __init__(self, part: LocalSearch, space: Space, seed: int) -> None:
        self.part, self.space = part, space
        self.draws = Draws(seed, "local search")
        self.centre: Known | None = None
        self.queue: list[Architecture] = []
        self.asked: set[Architecture] = set()
        self.left = part.starts  # random starts still to be asked
        self.optima: list[str] = []

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals: starts, then neighbours of the centre, then starts again."""
        return [self._one(bool(pending)) for _ in range(n)]

    def _one(self, waiting: bool) -> Proposal:
        while self.left == 0 and self.centre is not None and self.queue:
            found = self.queue.pop()
            if found not in self.asked:
                self.asked.add(found)
                return Proposal(found, None, self.centre.digest)
        if self.left == 0 and not waiting:  # with results still to come, the centre may yet move
            if self.centre is not None:
                self.optima.append(self.centre.digest)
            self.centre, self.left = None, self.part.starts
        self.left = max(self.left - 1, 0)
        return Proposal(self._fresh())

    def _fresh(self) -> Architecture:
        for _ in range(TRIES):
            found = self.space.sample(self.draws)
            if found not in self.asked:
                break
        self.asked.add(found)
        return found

    def tell(self, trials: Sequence[Trial]) -> None:
        """Move where a trial is better than the centre."""
        for trial in trials:
            self.asked.add(trial.architecture)
            values = judged(trial)
            if values is None:
                continue
            here = self.centre
            same = here is not None and here.architecture == trial.architecture
            if here is None or same or self._better(values, here.values):
                self.centre = Known(trial.architecture, values, trial.proposal.fidelity)
                if not same:
                    self.queue = self._shuffled(self.space.neighbours(trial.architecture))

    def _better(self, ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
        if len(ours) == 1 or dominates(ours, theirs) or dominates(theirs, ours):
            return ours > theirs if len(ours) == 1 else dominates(ours, theirs)
        k = self.draws.below(len(ours))
        return ours[k] > theirs[k]

    def _shuffled(self, given: list[Architecture]) -> list[Architecture]:
        return [given[i] for i in self.draws.sample(len(given), len(given))]

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "drawn": self.draws.drawn,
            "centre": self.centre and self.centre.to_json(),
            "queue": [dict(a) for a in self.queue],
            "asked": sorted((dict(a) for a in self.asked), key=str),
            "left": self.left,
            "optima": list(self.optima),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.draws.drawn, self.left, self.optima = int(state["drawn"]), int(state["left"]), list(state["optima"])
        self.centre = Known.from_json(state["centre"]) if state["centre"] else None
        self.queue = [Architecture(a) for a in state["queue"]]
        self.asked = {Architecture(a) for a in state["asked"]}
