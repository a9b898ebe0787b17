"""Bayesian optimisation with many workers and fidelities: a process over (architecture, resource) that fantasises.

    x* = argmax over candidates of  (1/S) Σ_s E[max(f(x, r) − f*_s, 0) | what was told, fantasy s of what is pending]

r is the highest resource with enough results; f*_s the largest mean, under fantasy s, of what was measured or is pending.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mimar.core.ranges import Count, validate
from mimar.core.streams import Draws
from mimar.predictors.resources import ResourceProcess
from mimar.space import Architecture, Space, judged
from mimar.strategies.bayesian import log_improvement
from mimar.strategies.guided import Costs, Target, targets
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Known
from mimar.strategies.pools import Mutants, Pool, Scene


@dataclass(frozen=True)
class Fantasies:
    """Expected improvement at the highest resource with `enough` results, pending ones fantasised `fantasies` times.

    The first `initial` proposals are random. Then the `process` is conditioned on the last `most` results, those at high
    resources first, and its parameters are fitted anew whenever an eighth more is known. `candidates` come from `pool`;
    none was measured or is pending. One fantasy is the mean itself. Klein et al., "Model-based Asynchronous
    Hyperparameter and Neural Architecture Search", 2020.
    """

    process: ResourceProcess = ResourceProcess()
    initial: Count = 6
    candidates: Count = 250
    pool: Pool = Mutants()
    fantasies: Count = 20
    enough: Count = 3
    most: Count = 250
    target: Target = "log-error"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> FantasySearcher:
        """Return a searcher at its beginning."""
        return FantasySearcher(self, space, seed)


class FantasySearcher:
    """The search at work: what was told at which resource, and the parameters of the process when they were last fitted."""

    def __init__(self, part: Fantasies, space: Space, seed: int) -> None:
        self.part, self.space = part, space
        self.draws = Draws(seed, "fantasies")
        self.model = part.process.start(space)
        self.known: list[Known] = []
        self.seen: set[Architecture] = set()  # told, failed ones too
        self.asked, self.fitted = 0, 0  # how many were known at the last fit
        self.allowed: Callable[[Architecture], bool] | None = None

    def inform(self, costs: Costs, allowed: Callable[[Architecture], bool] | None) -> None:
        """Take note of which architectures keep the limits, if any are set."""
        self.allowed = allowed

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals; those of one call are pending to each other."""
        found: list[Proposal] = []
        for _ in range(n):
            found.append(self._one([*pending, *found]))
        return found

    def _one(self, pending: Sequence[Proposal]) -> Proposal:
        self.asked += 1
        if self.asked <= self.part.initial or len(self.known) < 2:
            return Proposal(self.space.sample(self.draws))
        at = self._condition(pending)
        measured = list(dict.fromkeys([*(k.architecture for k in self.known), *(p.architecture for p in pending)]))
        means = self._means(measured, at)[0]  # (N, S)
        order = np.argsort(-means.mean(1), kind="stable").tolist()
        known, limit = {*self.seen, *measured}, self.allowed
        best = [measured[i] for i in order]
        scene = Scene(self.space, self.draws, best, allowed=lambda a: a not in known and (not limit or limit(a)))
        pool = self.part.pool(scene, self.part.candidates)
        if not pool:
            return Proposal(self.space.sample(self.draws))
        candidates = list(pool)
        mean, std = self._means(candidates, at)
        gains = np.log(std)[:, None] + log_improvement((mean - means.max(0)) / std[:, None])  # (M, S)
        chosen = candidates[int(np.logaddexp.reduce(gains, axis=1).argmax())]
        parent = pool[chosen]
        return Proposal(chosen, None, None if parent is None else parent.digest)

    def _condition(self, pending: Sequence[Proposal]) -> float:
        """Condition the process on what was told and on fantasies of what is pending; return the resource to look at."""
        known = sorted(self.known, key=lambda k: _resource(k.fidelity))[-self.part.most :]
        resources = [_resource(k.fidelity) for k in known]
        archs = [k.architecture for k in known]
        again = len(self.known) >= self.fitted + max(self.fitted // 8, 1)
        parameters = None if again else self.model.parameters.tolist()
        self.model.fit(archs, resources, targets(known, self.part.target), parameters)
        self.fitted = len(self.known) if again else self.fitted
        if pending:
            under_way = [_resource(p.fidelity) if p.fidelity else min(resources) for p in pending]
            size = self.part.fantasies
            z = self.draws.numpy().standard_normal((len(under_way), size))
            z -= z.mean(1, keepdims=True)  # so that on average nothing is believed
            z *= np.sqrt(size / max(size - 1, 1))
            self.model.fantasise([p.architecture for p in pending], under_way, z)
        counts = {r: resources.count(r) for r in resources}
        return max((r for r, n in counts.items() if n >= self.part.enough), default=min(resources))

    def _means(self, architectures: Sequence[Architecture], at: float) -> tuple[Any, Any]:
        mean, std = self.model.predict(architectures, [at] * len(architectures))
        return mean.reshape(len(mean), -1), std

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take note at the resource of each trial; what failed is not proposed again."""
        for trial in trials:
            self.seen.add(trial.architecture)
            values = judged(trial)
            if values is not None:
                self.known.append(Known(trial.architecture, values, trial.proposal.fidelity))

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "asked": self.asked,
            "drawn": self.draws.drawn,
            "fitted": self.fitted,
            "parameters": self.model.parameters.tolist(),
            "known": [k.to_json() for k in self.known],
            "seen": sorted((dict(a) for a in self.seen), key=str),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.asked, self.draws.drawn, self.fitted = (int(state[k]) for k in ("asked", "drawn", "fitted"))
        self.model.parameters = np.array(state["parameters"], dtype=float)
        self.known = [Known.from_json(k) for k in state["known"]]
        self.seen = {Architecture(a) for a in state["seen"]}


def _resource(fidelity: float | None) -> float:
    """Return the resource of a fidelity; where there is only one, 1."""
    return 1.0 if fidelity is None or fidelity <= 0 else float(fidelity)
