"""How a policy climbs: Adam on a flat vector, a moving average to compare rewards with, and what a trial is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from mimar.core.ranges import Fraction, validate
from mimar.objectives import utilities
from mimar.space import Architecture, Trial, judged
from mimar.strategies.policies import Array

RECENT = 100  # trials that a vector of values is placed among


class Adam:
    """Adam, upwards: θ ← θ + lr·m̂ / (√v̂ + eps), in place. The steps are those of torch.optim.Adam(maximize=True).

    In NumPy, since for thirty parameters a step takes ten microseconds. Kingma and Ba, 2015.
    """

    def __init__(self, size: int, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.lr, self.betas, self.eps = lr, betas, eps
        self.mean, self.square, self.steps = np.zeros(size), np.zeros(size), 0

    def ascend(self, parameters: Array, gradient: Array) -> None:
        """Move `parameters` along `gradient`."""
        first, second = self.betas
        self.steps += 1
        self.mean += (1 - first) * (gradient - self.mean)
        self.square += (1 - second) * (gradient * gradient - self.square)
        scale = np.sqrt(self.square / (1 - second**self.steps)) + self.eps
        parameters += self.lr / (1 - first**self.steps) * self.mean / scale

    def state_dict(self) -> dict[str, Any]:
        """Return the moments."""
        return {"mean": self.mean.tolist(), "square": self.square.tolist(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from them."""
        self.mean, self.square = np.array(state["mean"]), np.array(state["square"])
        self.steps = int(state["steps"])


class Paid(NamedTuple):
    """What a policy learns from one trial: the reward, at which fidelity ("" is the full one), the proposal's notes."""

    architecture: Architecture
    reward: float
    level: str
    meta: Mapping[str, Any]

    def to_json(self) -> list[Any]:
        """Return it as JSON."""
        return [dict(self.architecture), self.reward, self.level, dict(self.meta)]

    @staticmethod
    def from_json(data: Sequence[Any]) -> Paid:
        """Return what `to_json` described."""
        return Paid(Architecture(data[0]), data[1], data[2], data[3])


class Rewards:
    """From trials to rewards. One value is its own reward; several are worth their place among the last 100, in [0, 1].

    What failed or timed out has the worst reward so far at its fidelity, so that a policy learns to avoid it; before
    there is any, nothing is learned from it, and never from what broke a limit.
    """

    def __init__(self) -> None:
        self.worst: dict[str, float] = {}
        self.recent: dict[str, list[tuple[float, ...]]] = {}

    def __call__(self, trial: Trial) -> Paid | None:
        """Return what a trial pays; None where nothing is learned from it."""
        fidelity = trial.proposal.fidelity
        level = "" if fidelity is None else repr(fidelity)
        values = judged(trial)
        if values is None:
            lost = trial.result.status == "infeasible" or level not in self.worst
            return None if lost else Paid(trial.architecture, self.worst[level], level, trial.proposal.meta)
        reward = values[0]
        if len(values) > 1:
            recent = self.recent.setdefault(level, [])
            recent.append(values)
            del recent[:-RECENT]
            reward = utilities(recent)[-1]
        self.worst[level] = min(reward, self.worst.get(level, reward))
        return Paid(trial.architecture, reward, level, trial.proposal.meta)

    def state_dict(self) -> dict[str, Any]:
        """Return what was told."""
        return {"worst": dict(self.worst), "recent": {k: [list(v) for v in vs] for k, vs in self.recent.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.worst = dict(state["worst"])
        self.recent = {k: [tuple(v) for v in vs] for k, vs in state["recent"].items()}


@dataclass(frozen=True)
class Baseline:
    """The moving average of rewards that an advantage is measured from: b ← μ·b + (1 − μ)·R, divided by 1 − μ^n.

    "before": b takes the rewards of a batch in before their advantages R − b are taken, as the released code of
    NAS-Bench-201's REINFORCE does, which shrinks the advantage of a single one to μ·(R − b); "after": b knows earlier
    rewards alone, so that the gradient is unbiased (the first batch is measured from its own). One average a fidelity.
    """

    momentum: Fraction = 0.9
    update: Literal["before", "after"] = "before"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self) -> Averages:
        """Return averages of nothing."""
        return Averages(self)


class Averages:
    """The baseline at work: {fidelity: [numerator, denominator]}."""

    def __init__(self, part: Baseline) -> None:
        self.part = part
        self.sums: dict[str, list[float]] = {}

    def advantages(self, batch: Sequence[Paid]) -> list[float]:
        """Return R − b of each, and take the rewards in."""
        kept, momentum = {level: tuple(pair) for level, pair in self.sums.items()}, self.part.momentum
        for paid in batch:
            pair = self.sums.setdefault(paid.level, [0.0, 0.0])
            pair[0] = momentum * pair[0] + (1 - momentum) * paid.reward
            pair[1] = momentum * pair[1] + (1 - momentum)
        before = self.part.update == "before"
        pairs = [self.sums[p.level] if before or p.level not in kept else kept[p.level] for p in batch]
        return [p.reward - up / down if down else 0.0 for p, (up, down) in zip(batch, pairs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return {level: list(pair) for level, pair in self.sums.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from them."""
        self.sums = {level: list(pair) for level, pair in state.items()}
