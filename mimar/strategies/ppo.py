"""Proximal policy optimisation: several small steps on one batch, none of which may go far; by one agent or by several.

r(a) = P(a) / P_old(a);    maximise  (1/m) Σ_k min( r A, clip(r, 1 − ε, 1 + ε)·A ) + entropy·H,    A = R − b
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from mimar.core.ranges import Count, NonNegative, Positive, Range, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.strategies.ascent import Adam, Averages, Baseline, Paid, Rewards
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.policies import Array, Policy
from mimar.strategies.recurrent import Recurrent
from mimar.strategies.rejection import mode, proposal


@dataclass(frozen=True)
class Ppo:
    """The clipped surrogate, `epochs` steps of Adam on every `batch` trials of an agent; an architecture is one action.

    Agents propose in turn, each from its own copy of the policy, and one server holds parameters and moments.
    "asynchronous" (A3C): an agent whose batch is full sends each of its gradients to the server at once and takes back
    the parameters, which others have changed meanwhile. "synchronous" (A2C): once all have a full batch, the mean of
    their gradients is taken, and all have the same parameters. With one agent both are the same. Schulman et al., 2017,
    equation 7; Balaprakash et al., 2019, section 3.2 for the agents.
    """

    policy: Policy = Recurrent()
    lr: Positive = 1e-3
    batch: Count = 4
    epochs: Count = 4
    clip: Annotated[float, Range(0.0, 1.0, open_low=True)] = 0.2
    baseline: Baseline = Baseline()
    entropy: NonNegative = 0.0
    agents: Count = 1
    averaging: Literal["asynchronous", "synchronous"] = "asynchronous"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> PpoSearcher:
        """Return a searcher at its beginning."""
        return PpoSearcher(self, space, seed)


class Agent:
    """One agent: its copy of the parameters, its baseline, and its trials that nothing was learned from yet."""

    def __init__(self, parameters: Array, averages: Averages) -> None:
        self.parameters, self.averages = parameters.copy(), averages
        self.waiting: list[Paid] = []

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "parameters": self.parameters.tolist(),
            "averages": self.averages.state_dict(),
            "waiting": [p.to_json() for p in self.waiting],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.parameters = np.array(state["parameters"])
        self.averages.load_state_dict(state["averages"])
        self.waiting = [Paid.from_json(p) for p in state["waiting"]]


class PpoSearcher:
    """PPO at work: the server's parameters and moments, and the agents."""

    def __init__(self, part: Ppo, space: Space, seed: int) -> None:
        self.part, self.space, self.draws = part, space, Draws(seed, "ppo")
        self.sampler = part.policy.start(space, Draws(seed, "policy"))  # runs with the parameters of whose turn it is
        self.parameters: Array = self.sampler.parameters.copy()
        self.adam = Adam(len(self.parameters), part.lr)
        self.agents = [Agent(self.parameters, part.baseline.start()) for _ in range(part.agents)]
        self.rewards = Rewards()
        self.asked = 0
        self.broken: dict[Architecture, None] = {}

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n draws, of the agents in turn; each notes its agent and its log-probability."""
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal:
        k = self.asked % len(self.agents)
        self.asked += 1
        self.sampler.load(self.agents[k].parameters)
        drawn = proposal(self.sampler, self.space, self.broken, self.draws)
        return Proposal(drawn.architecture, meta={"agent": k, "log_prob": drawn.log_prob})

    def tell(self, trials: Sequence[Trial]) -> None:
        """Hand trials to their agents, and learn from full batches; what was never asked for goes to the idlest."""
        for trial in trials:
            if trial.result.status == "infeasible":
                self.broken[trial.architecture] = None
            paid = self.rewards(trial)
            if paid is None:
                continue
            k = paid.meta.get("agent", -1)
            if not 0 <= k < len(self.agents):
                k = min(range(len(self.agents)), key=lambda i: len(self.agents[i].waiting))
            agent = self.agents[k]
            if trial.since is not None:
                agent.waiting = [w for w in agent.waiting if w.architecture != paid.architecture]
            agent.waiting.append(paid)
            self._learn(agent)

    def _learn(self, agent: Agent) -> None:
        group = [agent] if self.part.averaging == "asynchronous" else self.agents
        m = self.part.batch
        if any(len(a.waiting) < m for a in group):
            return
        batches = [a.waiting[:m] for a in group]
        given = [np.array(a.averages.advantages(batch)) / m for a, batch in zip(group, batches, strict=True)]
        old = [self._old(a, batch) for a, batch in zip(group, batches, strict=True)]
        for _ in range(self.part.epochs):
            gradients = [self._slope(*of) for of in zip(group, batches, given, old, strict=True)]
            self.adam.ascend(self.parameters, sum(gradients) / len(gradients))
            for a in group:
                a.parameters = self.parameters.copy()
        for a in group:
            a.waiting = a.waiting[m:]

    def _old(self, agent: Agent, batch: list[Paid]) -> Array:
        """Return the log-probabilities (m,) with which a batch was drawn; those of now for what was never asked for."""
        self.sampler.load(agent.parameters)
        now = self.sampler.measure([p.architecture for p in batch])[0]
        return np.array([p.meta.get("log_prob", log) for p, log in zip(batch, now.tolist(), strict=True)])

    def _slope(self, agent: Agent, batch: list[Paid], given: Array, old: Array) -> Array:
        """Return the gradient of the surrogate: A·r·∇ log P(a), and nothing where the clipped term is the smaller."""
        self.sampler.load(agent.parameters)

        def weigh(logs: Array) -> Array:
            ratio = np.exp(np.minimum(logs - old, 50.0))
            far = np.where(given > 0, ratio > 1 + self.part.clip, ratio < 1 - self.part.clip)
            return np.where(far, 0.0, given * ratio)

        bonus = [self.part.entropy / len(batch)] * len(batch) if self.part.entropy else []
        return self.sampler.gradient([p.architecture for p in batch], weigh, bonus)

    def answer(self) -> Architecture:
        """Return the most probable architecture that may be proposed, under the server's parameters."""
        self.sampler.load(self.parameters)
        return mode(self.sampler, self.space, self.broken, Draws(0, "answer"))

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and moments of the server, and the agents."""
        return {
            "asked": self.asked,
            "drawn": self.draws.drawn,
            "parameters": self.parameters.tolist(),
            "adam": self.adam.state_dict(),
            "agents": [agent.state_dict() for agent in self.agents],
            "rewards": self.rewards.state_dict(),
            "broken": [dict(a) for a in self.broken],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from them."""
        self.asked, self.draws.drawn = int(state["asked"]), int(state["drawn"])
        self.parameters = np.array(state["parameters"])
        self.adam.load_state_dict(state["adam"])
        for agent, kept in zip(self.agents, state["agents"], strict=True):
            agent.load_state_dict(kept)
        self.rewards.load_state_dict(state["rewards"])
        self.broken = {Architecture(a): None for a in state["broken"]}
