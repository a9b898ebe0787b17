"""REINFORCE: what paid more than usual becomes more probable.

θ ← Adam( (1/m) Σ_k (R_k − b)·∇ log P(a_k) + entropy·∇H ),    b the moving average of the rewards
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, NonNegative, Positive, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.strategies.ascent import Adam, Baseline, Paid, Rewards
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.policies import Array, Factorised, Policy
from mimar.strategies.rejection import Rejection, mode, proposal
from mimar.strategies.replay import Replay


@dataclass(frozen=True)
class Reinforce:
    """Policy gradient, a step every `batch` trials, by Adam with rate `lr`.

    What was drawn before a step and is told after it counts as if the policy were still the same; so does what was
    never asked for. Several objectives: the reward is the place among the last 100. Failures have the worst reward yet.
    A proposal told again at a higher fidelity replaces what was not learned yet, and is learned from again otherwise.
    `replay` needs a policy with a state. Williams, 1992; Zoph and Le, "Neural Architecture Search with Reinforcement
    Learning", 2017, equation in section 3.2.
    """

    policy: Policy = Factorised()
    lr: Positive = 0.01
    batch: Count = 1
    baseline: Baseline = Baseline()
    entropy: NonNegative = 0.0
    rejection: Rejection = Rejection()
    replay: Replay | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> ReinforceSearcher:
        """Return a searcher at its beginning."""
        return ReinforceSearcher(self, space, seed)


class ReinforceSearcher:
    """REINFORCE at work: the policy, its optimiser and baseline, and the trials of a batch that is not full yet."""

    def __init__(self, part: Reinforce, space: Space, seed: int) -> None:
        self.part, self.space, self.draws = part, space, Draws(seed, "reinforce")
        part.rejection.check(space)
        self.sampler: Any = part.policy.start(space, Draws(seed, "policy"))
        if part.replay is not None and not hasattr(self.sampler, "recall"):
            raise UsageError(f"replay needs a policy with a state, as Recurrent(), not {part.policy!r}")
        self.adam = Adam(len(self.sampler.parameters), part.lr)
        self.averages, self.rewards = part.baseline.start(), Rewards()
        self.waiting: list[Paid] = []
        self.memory: list[Architecture] = []
        self.broken: dict[Architecture, None] = {}  # told to break a limit, in order

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n draws from the policy, without those that break constraints or limits that were told."""
        found = (proposal(self.sampler, self.space, self.broken, self.draws) for _ in range(n))
        return [Proposal(drawn.architecture) for drawn in found]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn from trials, as soon as there are enough for a step."""
        for trial in trials:
            if trial.result.status == "infeasible":
                self.broken[trial.architecture] = None
            paid = self.rewards(trial)
            if paid is None:
                continue
            if trial.since is not None:
                self.waiting = [w for w in self.waiting if w.architecture != paid.architecture]
            self.waiting.append(paid)
            if self.part.replay is not None:
                self.memory = [*self.memory, paid.architecture][-self.part.replay.size :]
            if len(self.waiting) >= self.part.batch:
                batch, self.waiting = self.waiting, []
                self._learn(batch)

    def _learn(self, batch: list[Paid]) -> None:
        part, sampler, m = self.part, self.sampler, len(batch)
        given = np.array(self.averages.advantages(batch)) / m
        beside = part.rejection.companions(sampler, self.space, self.broken, self.draws)
        if beside is None:
            return

        def weigh(logs: Array) -> Array:
            return np.append(given, -given.sum() * part.rejection.shares(logs[m:])) if beside else given

        bonus = [part.entropy / m] * m + [0.0] * len(beside) if part.entropy else []
        gradient = sampler.gradient([p.architecture for p in batch] + beside, weigh, bonus)
        if part.replay is not None:
            past = [self.draws.choice(self.memory) for _ in range(part.replay.batch)]
            gradient += part.replay.weight * sampler.recall(past)[1]
        self.adam.ascend(sampler.parameters, gradient)
        sampler.load(sampler.parameters)

    def answer(self) -> Architecture:
        """Return the most probable architecture that may be proposed: what the policy, not the log, holds for best."""
        return mode(self.sampler, self.space, self.broken, Draws(0, "answer"))

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, moments, baseline and what waits."""
        return {
            "drawn": self.draws.drawn,
            "parameters": self.sampler.parameters.tolist(),
            "adam": self.adam.state_dict(),
            "averages": self.averages.state_dict(),
            "rewards": self.rewards.state_dict(),
            "waiting": [p.to_json() for p in self.waiting],
            "memory": [dict(a) for a in self.memory],
            "broken": [dict(a) for a in self.broken],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from them."""
        self.draws.drawn = int(state["drawn"])
        self.sampler.load(np.array(state["parameters"]))
        self.adam.load_state_dict(state["adam"])
        self.averages.load_state_dict(state["averages"])
        self.rewards.load_state_dict(state["rewards"])
        self.waiting = [Paid.from_json(p) for p in state["waiting"]]
        self.memory = [Architecture(a) for a in state["memory"]]
        self.broken = {Architecture(a): None for a in state["broken"]}
