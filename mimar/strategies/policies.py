"""Policies: laws over the architectures of a space that can be learned.

A policy at work, a `Sampler`, draws architectures, knows the probability of each, and how it moves with its parameters:

    ∇ ( Σᵢ wᵢ log P(aᵢ) + Σᵢ bᵢ H(aᵢ) ),    H(a) = the entropies of the decisions on the way to a, summed

The mean of H(a) over draws is the entropy of the law; its gradient is taken with the way held fixed. A choice that is
inactive is not decided and counts nothing. N architectures, J decisions, D columns: one an outcome of a decision.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, NonNegative, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Choice, Space

Array = Any  # a float64 NumPy array
Weigh = Callable[[Array], Array]  # from the log-probabilities (N,) of architectures to their weights (N,)
MOST = 10_000  # outcomes of one choice that a policy lists


class Drawn(NamedTuple):
    """An architecture and its log-probability under the law that it was drawn from."""

    architecture: Architecture
    log_prob: float


class Sampler(Protocol):
    """A policy at work."""

    parameters: Array  # (P,) float64; read it, and change it by `load` alone

    def load(self, parameters: Array) -> None:
        """Take these parameters."""
        ...

    def draw(self, draws: Draws, n: int = 1) -> list[Drawn]:
        """Draw n architectures, whatever the constraints of the space say of them."""
        ...

    def measure(self, architectures: Sequence[Architecture]) -> tuple[Array, Array]:
        """Return log P(a) and H(a), both (N,); a value counts with the cell of its range that it lies in."""
        ...

    def gradient(self, architectures: Sequence[Architecture], weigh: Weigh, bonus: Sequence[float] = ()) -> Array:
        """Return ∇ (Σ w log P(a) + Σ b H(a)), (P,), the weights w held fixed; no `bonus` is none."""
        ...


class Policy(Protocol):
    """A frozen description of a policy."""

    def start(self, space: Space, draws: Draws) -> Sampler:
        """Return a sampler with parameters drawn from `draws`; raises UsageError where the space is not for it."""
        ...


class Decision:
    """One choice as a decider sees it: its outcomes are the columns `first` to `stop`, priors the weights at the start.

    A choice of kind `some` has a column for every combination, `value` one for each of `levels` equal cells of its
    range, inside which the value is uniform.
    """

    __slots__ = ("_columns", "always", "choice", "first", "levels", "name", "stop")

    def __init__(self, choice: Choice, first: int, levels: int) -> None:
        if choice.kind == "some" and choice.count > MOST:
            raise UsageError(
                f"choice {choice.name!r} has {choice.count} combinations, and a policy lists at most {MOST}: "
                "take fewer options or a smaller k"
            )
        self.choice, self.name, self.first, self.levels = choice, choice.name, first, levels
        self.stop = first + (levels if choice.kind == "value" else int(choice.count))
        self.always = not choice.when
        self._columns = {value: first + i for i, value in enumerate(choice.outcomes)}

    def column(self, value: Any) -> int:
        """Return the column of a value."""
        if self.choice.kind == "value":
            return self.first + min(int(self.choice.unit(value) * self.levels), self.levels - 1)
        return self._columns[value]

    def value(self, column: int, draws: Draws) -> Any:
        """Return a value of a column."""
        if self.choice.kind == "value":
            return self.choice.at((column - self.first + draws.uniform()) / self.levels)
        return self.choice.outcomes[column - self.first]

    def pick(self, shares: Sequence[float], draws: Draws) -> int:
        """Draw one of the columns, with the probabilities that `shares` (D,) has there."""
        within = tuple(accumulate(shares[self.first : self.stop]))
        return self.first + min(bisect_right(within, draws.uniform() * within[-1]), len(within) - 1)

    def priors(self) -> list[float]:
        """Return the logarithm of each column's prior multiplicity; a combination has the product of its options'."""
        choice = self.choice
        if choice.prior is None:
            return [0.0] * (self.stop - self.first)
        weight = dict(zip(choice.options, choice.prior, strict=True))
        picks = choice.outcomes if choice.kind == "some" else [(o,) for o in choice.outcomes]
        return [math.fsum(math.log(weight[o]) for o in pick) for pick in picks]


def decisions(space: Space, levels: int) -> list[Decision]:
    """Return the decisions of a space, parents first; raises UsageError for a space without a choice."""
    found: list[Decision] = []
    for choice in space.ordered:
        found.append(Decision(choice, found[-1].stop if found else 0, levels))
    if not found:
        raise UsageError("a policy needs a space with at least one choice")
    return found


@dataclass(frozen=True)
class Factorised:
    """Independent decisions: P(a) = Π softmax(θ_c)[a_c] over the choices c that are active in a.

    θ starts at the logarithm of the prior multiplicities plus spread·N(0, 1). A choice of kind `value` is decided in
    `levels` equal cells of its range. Source: the REINFORCE of NAS-Bench-201 (Dong and Yang, 2020), spread 1e-3.
    """

    spread: NonNegative = 1e-3
    levels: Count = 8
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, draws: Draws) -> FactorisedSampler:
        """Return a sampler at its beginning."""
        return FactorisedSampler(self, space, draws)


class FactorisedSampler:
    """A table of logits at work; `parameters` are the D logits."""

    def __init__(self, part: Factorised, space: Space, draws: Draws) -> None:
        self.decisions = decisions(space, part.levels)
        sizes = [d.stop - d.first for d in self.decisions]
        self._firsts = np.array([d.first for d in self.decisions])  # (J,)
        self._owners = np.repeat(np.arange(len(sizes)), sizes)  # (D,): the decision of a column
        priors = np.array([p for d in self.decisions for p in d.priors()])
        self.load(priors + part.spread * draws.numpy().standard_normal(len(priors)))

    def load(self, parameters: Array) -> None:
        """Take these logits."""
        self.parameters = np.array(parameters, dtype=np.float64)
        shifted = self.parameters - np.maximum.reduceat(self.parameters, self._firsts)[self._owners]
        raised = np.exp(shifted)
        sums = np.add.reduceat(raised, self._firsts)
        self._shares = raised / sums[self._owners]  # (D,)
        self._logs = shifted - np.log(sums)[self._owners]  # (D,)
        self._share_list, self._log_list = self._shares.tolist(), self._logs.tolist()

    def draw(self, draws: Draws, n: int = 1) -> list[Drawn]:
        """Draw n architectures."""
        return [self._one(draws) for _ in range(n)]

    def _one(self, draws: Draws) -> Drawn:
        made: dict[str, Any] = {}
        log_prob = 0.0
        for decision in self.decisions:
            if decision.always or decision.choice.active(made):
                column = decision.pick(self._share_list, draws)
                made[decision.name] = decision.value(column, draws)
                log_prob += self._log_list[column]
        return Drawn(Architecture.trusted(made), log_prob)

    def probabilities(self) -> dict[str, list[float]]:
        """Return the law of each choice, over its outcomes (over the cells of a range)."""
        return {d.name: self._share_list[d.first : d.stop] for d in self.decisions}

    def measure(self, architectures: Sequence[Architecture]) -> tuple[Array, Array]:
        """Return log P(a) and H(a)."""
        entropy = self._entropies().tolist()
        logs, ways = [], []
        for arch in architectures:
            made = [(j, d.column(arch[d.name])) for j, d in enumerate(self.decisions) if d.name in arch]
            logs.append(sum(self._log_list[column] for _, column in made))
            ways.append(sum(entropy[j] for j, _ in made))
        return np.array(logs), np.array(ways)

    def gradient(self, architectures: Sequence[Architecture], weigh: Weigh, bonus: Sequence[float] = ()) -> Array:
        """Return ∇ (Σ w log P(a) + Σ b H(a)): w·(one-hot − softmax), and −b·p·(log p + H)."""
        logs = [sum(self._log_list[d.column(a[d.name])] for d in self.decisions if d.name in a) for a in architectures]
        hits, masses = [0.0] * len(self._log_list), [0.0] * len(self.decisions)
        for arch, weight in zip(architectures, weigh(np.array(logs)).tolist(), strict=True):
            for j, d in enumerate(self.decisions):
                if d.name in arch:
                    masses[j] += weight
                    hits[d.column(arch[d.name])] += weight
        found = np.array(hits) - self._shares * np.array(masses)[self._owners]
        if len(bonus):
            ways = zip(architectures, bonus, strict=True)
            given = [(arch, b) for arch, b in ways if b]
            masses = [math.fsum(b for arch, b in given if d.name in arch) for d in self.decisions]
            slope = self._shares * (self._logs + self._entropies()[self._owners])
            found -= np.array(masses)[self._owners] * slope
        return found

    def _entropies(self) -> Array:
        return -np.add.reduceat(self._shares * self._logs, self._firsts)  # (J,)
