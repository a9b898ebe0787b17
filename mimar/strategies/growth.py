"""Architectures that grow: a policy makes children of one architecture by steps that keep what a network computes.

    stage     `episodes` times:   `batch` children of the start, each by `wider` and then `deeper` actions
                                  θ ← Adam( (1/m) Σ_k (R_k − b)·∇ log P(actions_k | start) + entropy·∇H ),   R = tan(½π value)
    then      the best architecture that can still grow is the next start

A child names the start as its parent, from whose network its training can go on. Source: Cai, Chen, Zhang, Yu, Wang,
"Efficient architecture search by network transformation", AAAI 2018.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, NonNegative, Positive, Whole, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Space, judged
from mimar.strategies.ascent import Adam, Baseline, Paid, Rewards
from mimar.strategies.edit_policy import EditPolicy, Path, edits
from mimar.strategies.parts import Proposal, Trial

TRIES = 50  # children drawn until one is new beside its parent and allowed
CEILING = 0.999  # the tangent of a perfect value would be infinite


@dataclass(frozen=True)
class Growth:
    """Reinforcement learning of growth; the first proposal is the first start, the narrowest chain with `filled` places.

    These are spread evenly and filled with the first of what they can be; the others are empty. Decisions over choices beside the chain are drawn by the space. With several objectives a reward is the place among
    the last 100, and the best is that in the first objective. What failed has the worst reward yet; a child that is told
    after its stage has ended is not learned from.
    """

    policy: EditPolicy = EditPolicy()
    filled: Whole = 0
    batch: Count = 10
    episodes: Count = 15
    lr: Positive = 2e-3
    baseline: Baseline = Baseline(momentum=0.95, update="after")
    entropy: NonNegative = 1e-5
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> GrowthSearcher:
        """Return a searcher at its beginning; raises UsageError where the space has no steps to grow by."""
        return GrowthSearcher(self, space, seed)


def shaped(reward: float) -> float:
    """Return tan(½π R) of a reward in [0, 1], which near 1 counts small gains for much; any other as it is."""
    return math.tan(min(reward, CEILING) * math.pi / 2) if 0 <= reward <= 1 else reward


class GrowthSearcher:
    """Growth at work: the policy, the start of the stage, the best yet, and the children of an episode that is not full."""

    def __init__(self, part: Growth, space: Space, seed: int) -> None:
        self.part, self.space, self.draws = part, space, Draws(seed, "growth")
        self.edits = edits(space)
        self.policy = part.policy.start(self.edits, Draws(seed, "policy"))
        self.adam = Adam(len(self.policy.parameters), part.lr)
        self.averages, self.rewards = part.baseline.start(), Rewards()
        self.begin = self._complete(self._first())
        self.begun, self.episode = False, 0
        self.best: tuple[float, tuple[float, ...], Architecture] | None = (
            None  # fidelity, values: of those that can grow
        )
        self.waiting: list[Paid] = []

    def _first(self) -> Path:
        path, names, filled = self.edits.least, self.edits.names, self.part.filled
        if filled > len(names):
            raise UsageError(f"the chain has {len(names)} places, and filled={filled} asks for more")
        for i in range(filled):
            path = self.edits.deeper(path, names[i * len(names) // filled], self.edits.kinds[0]) or path
        return path

    def _complete(self, path: Path) -> Architecture:
        return self.space.complete(path, self.space.filler(self.draws))

    def _path(self, architecture: Architecture) -> Path:
        return {name: architecture[name] for name in self.edits.names}

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n children of the start; the very first proposal is the start itself."""
        return [self._next() for _ in range(n)]

    def _next(self) -> Proposal:
        if not self.begun:
            self.begun = True
            return Proposal(self.begin)
        return self._child()

    @torch.no_grad()
    def _child(self) -> Proposal:
        path = self._path(self.begin)
        for _ in range(TRIES):
            walk = self.policy.walk(path, self.draws)
            child = self._complete(walk.path)
            if walk.path != path and self.space.allows(child):
                return Proposal(child, parent=self.begin.digest, meta={"actions": walk.actions})
        return Proposal(self.begin, parent=self.begin.digest)  # the policy insists on what it has

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn from an episode's children as soon as all are told; after the last episode of a stage the start changes."""
        for trial in trials:
            self._note(trial)
            paid = self.rewards(trial)
            if paid is None or trial.proposal.parent != self.begin.digest or "actions" not in paid.meta:
                continue
            if trial.since is not None:
                self.waiting = [w for w in self.waiting if w.architecture != paid.architecture]
            self.waiting.append(paid._replace(reward=shaped(paid.reward)))
            if len(self.waiting) >= self.part.batch:
                self._learn()

    def _note(self, trial: Trial) -> None:
        values, fidelity = judged(trial), trial.proposal.fidelity
        if values is None or not self.policy.grows(self._path(trial.architecture)):
            return
        height = math.inf if fidelity is None else fidelity
        if self.best is None or (height, values) > self.best[:2]:
            self.best = height, values, trial.architecture

    def _learn(self) -> None:
        batch, self.waiting = self.waiting, []
        weights = [a / len(batch) for a in self.averages.advantages(batch)]
        path, actions = self._path(self.begin), [p.meta["actions"] for p in batch]
        gradient = self.policy.gradient(path, actions, weights, self.part.entropy)
        self.adam.ascend(self.policy.parameters, gradient)
        self.episode += 1
        if self.episode >= self.part.episodes:
            self.episode = 0
            self.begin = self.begin if self.best is None else self.best[2]

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, moments, baseline, the start, the best and what waits."""
        best = self.best
        return {
            "drawn": self.draws.drawn,
            "parameters": self.policy.parameters.tolist(),
            "adam": self.adam.state_dict(),
            "averages": self.averages.state_dict(),
            "rewards": self.rewards.state_dict(),
            "waiting": [p.to_json() for p in self.waiting],
            "begin": dict(self.begin),
            "begun": self.begun,
            "episode": self.episode,
            "best": None if best is None else [None if best[0] == math.inf else best[0], list(best[1]), dict(best[2])],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from them."""
        self.draws.drawn = int(state["drawn"])
        self.policy.load(np.array(state["parameters"]))
        self.adam.load_state_dict(state["adam"])
        self.averages.load_state_dict(state["averages"])
        self.rewards.load_state_dict(state["rewards"])
        self.waiting = [Paid.from_json(p) for p in state["waiting"]]
        self.begin = Architecture(state["begin"])
        self.begun, self.episode = state["begun"], state["episode"]
        held = state["best"]
        if held is not None:
            height, values, architecture = held
            self.best = math.inf if height is None else height, tuple(values), Architecture(architecture)
