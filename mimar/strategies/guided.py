"""Searchers that a model guides: measure a design, then again and again fit, score candidates, measure the best of them.

    y = target(values);     model.fit(measured, y);     batch = the `batch` best of pool(…) by score(model)

What is kept is what was told and what is still to be asked: the model is a function of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from mimar.core.quantiles import quantiles
from mimar.core.streams import Draws
from mimar.objectives import utilities
from mimar.predictors.parts import Model, Predictor
from mimar.space import Architecture, Space
from mimar.space.transforms.prune import Decision, Prune, weakest
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Known, Past
from mimar.strategies.pools import Candidates, Pool, Scene, Scores

Target = Literal["rank", "log-error", "value"]
Costs = Callable[[Architecture], Mapping[str, float]]
PERFECT = 1e-4  # an error below this counts as this


class Acquisition(Protocol):
    """What makes a candidate worth measuring."""

    def __call__(self, model: Model, candidates: Sequence[Architecture], measured: Sequence[Architecture]) -> Scores:
        """Return a score a candidate, larger is better; `measured` are the architectures that were fitted."""
        ...


class Guide(NamedTuple):
    """How a searcher is guided; see the strategies for what each field means."""

    predictor: Predictor
    pool: Pool
    design: Pool
    acquisition: Acquisition
    initial: int
    batch: int
    candidates: int
    target: Target = "rank"
    prune: int = 0
    name: str = "guided"


def targets(known: Sequence[Known], target: Target) -> list[float]:
    """Return what a model is to learn, one number each, larger is better.

    "rank": the normal score of the value's rank, Φ⁻¹((r − ½) / N), r from 1: outliers and units do not matter.
    "log-error": −log(1 − value), which stretches the differences near the top, where all values lie in [0, 1] as
    accuracies do, else the value. "value": the value. Of several objectives it is their utility, in all cases.
    """
    values = [k.values for k in known]
    worth = np.asarray(utilities(values))
    if target == "rank":
        from scipy.special import ndtri

        worth = ndtri((quantiles(worth) * (len(worth) - 1) + 0.5) / len(worth))
    elif target == "log-error" and len(values[0]) == 1 and worth.min() >= 0.0 and worth.max() <= 1.0:
        worth = -np.log(np.maximum(1.0 - worth, PERFECT))
    found: list[float] = worth.tolist()
    return found


class GuidedSearcher:
    """A guided search at work: what was told, what is left to ask, what was pruned."""

    def __init__(self, guide: Guide, space: Space, seed: int) -> None:
        self.guide, self.whole, self.space = guide, space, space
        self.draws = Draws(seed, guide.name)
        self.model = guide.predictor.start(space, seed)
        self.asked, self.rounds = 0, 0
        self.queue: list[tuple[Architecture, str | None]] = []
        self.past = Past()
        self.seen: set[Architecture] = set()  # asked or told, failed ones too
        self.removed: list[Decision] = []
        self.allowed: Callable[[Architecture], bool] | None = None

    def inform(self, costs: Costs, allowed: Callable[[Architecture], bool] | None) -> None:
        """Take note of what is free to know: the costs of any architecture, and whether it keeps the limits, if any are set."""
        self.allowed = allowed
        if hasattr(self.model, "inform"):
            self.model.inform(costs)

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals: the design first, then batches of what the model finds best."""
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal:
        if not self.queue:
            chosen = self._design() if self._early else self._batch()
            self.queue = [(arch, parent.digest if parent else None) for arch, parent in chosen.items()]
        # where nothing new is left in what was pruned, the whole space is
        arch, parent = self.queue.pop(0) if self.queue else (self.whole.sample(self.draws), None)
        self.asked += 1
        self.seen.add(arch)
        return Proposal(arch, None, parent)

    @property
    def _early(self) -> bool:
        return self.asked < self.guide.initial or len(self.past) < 2

    def _design(self) -> Candidates:
        wanted = max(self.guide.initial - self.asked, 1)
        found = self.guide.design(Scene(self.space, self.draws, allowed=self._fresh), wanted)
        return dict(list(found.items())[:wanted])

    def _batch(self) -> Candidates:
        """Fit, score and return the next batch; candidates of equal score are one to the model, and the first is taken."""
        guide, known = self.guide, self.past.top(min(self.guide.initial, 10))
        y = targets(known, guide.target)
        measured = [k.architecture for k in known]
        self.model.fit(measured, y)
        self._prune()

        def score(candidates: Sequence[Architecture]) -> Scores:
            return guide.acquisition(self.model, candidates, measured)

        ranked = [measured[i] for i in np.argsort(-np.asarray(y), kind="stable")]
        best = [a for a in ranked if self.space.valid(a)] if self.removed else ranked
        pool = guide.pool(Scene(self.space, self.draws, best, score, self.allowed, self.rounds), guide.candidates)
        fresh = [a for a in pool if self._fresh(a)]
        self.rounds += 1
        if not fresh:
            return {}
        scores = score(fresh)
        order = np.argsort(-scores, kind="stable")
        apart = np.append(True, scores[order][1:] != scores[order][:-1])
        chosen = np.concatenate([order[apart], order[~apart]])[: guide.batch]
        return {fresh[i]: pool[fresh[i]] for i in chosen.tolist()}

    def _fresh(self, arch: Architecture) -> bool:
        return arch not in self.seen and (self.allowed is None or self.allowed(arch))

    def _prune(self) -> None:
        """Take the options with the worst effects out of the space of candidates."""
        if self.guide.prune:
            explained = self.model.explain()  # type: ignore[attr-defined]
            effects = {
                (e.choice, e.option): e.effect for e in explained if e.choice and e.option is not None and e.times
            }
            gone = set(self.removed)
            left = {(c, o): effect for (c, o), effect in effects.items() if c in self.space and (c, o) not in gone}
            self._remove([*self.removed, *weakest(self.space, left, self.guide.prune).removed])

    def _remove(self, decisions: Sequence[Decision]) -> None:
        self.removed = [(name, option) for name, option in decisions]
        self.space = Prune(tuple(self.removed))(self.whole).space if self.removed else self.whole

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take note; those that failed or break a limit are not proposed again."""
        for trial in trials:
            self.seen.add(trial.architecture)
            self.past.add(trial)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "drawn": self.draws.drawn,
            "asked": self.asked,
            "rounds": self.rounds,
            "queue": [[dict(a), parent] for a, parent in self.queue],
            "past": self.past.state_dict(),
            "seen": sorted((dict(a) for a in self.seen), key=str),
            "removed": [list(d) for d in self.removed],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.draws.drawn, self.asked, self.rounds = (int(state[k]) for k in ("drawn", "asked", "rounds"))
        self.queue = [(Architecture(a), parent) for a, parent in state["queue"]]
        self.past.load_state_dict(state["past"])
        self.seen = {Architecture(a) for a in state["seen"]}
        self._remove(state["removed"])
