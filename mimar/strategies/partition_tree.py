"""Search in regions that are learned: a tree of linear splits, good to one side and bad to the other, explored as a bandit.

    split of a node    ŷ(x) = w·x + b fitted on its members;   good where ŷ(x) > the members' mean ŷ
    worth of a node    mean y of its members + 2 c √(2 ln n_parent / n)

x is the one-hot code of an architecture. From the root to a leaf the child of most worth is taken; the next proposal is
drawn in the leaf's region. The tree is learned anew after every `refit` results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from os.path import commonprefix
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from mimar.core.quantiles import quantiles
from mimar.core.ranges import Count, NonNegative, Positive, Range, validate
from mimar.core.streams import Draws
from mimar.objectives import utilities
from mimar.predictors.columns import Columns
from mimar.space import Architecture, Space
from mimar.space.counting import count
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Past
from mimar.strategies.regions import Array, Regions, bound, learned

LISTED = 20_000  # spaces up to this size are listed, and their regions known exactly
TRIES = 100  # random architectures, and then mutants, that are looked through for one in a region of a larger space


@dataclass(frozen=True)
class PartitionTree:
    """Upper confidence bounds over the leaves of a tree of `height` linear splits; see the module's text.

    `exploration`: c. `fewest`: members that a node needs to be split. `ridge`: what is added to the diagonal of the normal
    equations. `scale`: y is the rank of a value among all, in [0, 1], or the "value" itself. The first `initial` proposals
    are random. Regions of spaces of up to 20,000 architectures are listed; in larger ones they are found by rejection, then
    by mutants of their members, and else by the candidate that follows the way to the leaf the longest.
    Wang et al., "Sample-efficient neural architecture search by learning action space", 2019.
    """

    height: Annotated[int, Range(1, 10)] = 5
    exploration: NonNegative = 0.1
    initial: Count = 10
    refit: Count = 20
    fewest: Annotated[int, Range(2)] = 5
    ridge: Positive = 1e-3
    scale: Literal["rank", "value"] = "rank"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> PartitionSearcher:
        """Return a searcher at its beginning."""
        return PartitionSearcher(self, space, seed)


@lru_cache(maxsize=4)
def listing(space: Space) -> tuple[Columns, list[Architecture], Array]:
    """Return the encoder of a space, all its architectures and their codes (N, D), none where there are too many.

    Kept for the searches on the same space that follow: listing takes longer than a search.
    """
    columns = Columns(space)
    listed = list(space.enumerate()) if count(space.ordered) <= LISTED else []
    return columns, listed, columns(listed)


class PartitionSearcher:
    """The tree at work: what was told, and the regions learned last."""

    def __init__(self, part: PartitionTree, space: Space, seed: int) -> None:
        self.part, self.space = part, space
        self.draws = Draws(seed, "partition tree")
        self.columns, self.listed, self.codes = listing(space)
        self.past = Past()
        self.seen: set[Architecture] = set()
        self.asked = 0
        self.fitted = 0  # entries of the past at the last fit
        self.shuffle = 0  # the seed of the order in which regions are gone through
        self.regions: Regions | None = None
        self.queues: dict[int, list[int]] = {}  # leaf → listed architectures still to be proposed, last first
        self.worth: tuple[Array, Array] | None = None  # members and sum of y by node, until something is told
        self.leaf: dict[Architecture, int] = {}

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals; a pending one counts as a visit of its region."""
        waiting = [p.architecture for p in pending]
        found = []
        for _ in range(n):
            proposal = self._one(waiting)
            self.asked += 1
            self.seen.add(proposal.architecture)
            waiting.append(proposal.architecture)
            found.append(proposal)
        return found

    def _one(self, waiting: Sequence[Architecture]) -> Proposal:
        if self.asked < self.part.initial or len(self.past) < 2:
            return Proposal(self._anywhere())
        if self.regions is None or len(self.past) - self.fitted >= self.part.refit:
            self._learn()
        leaf = self._chosen(waiting)
        found = self._listed_in(leaf) if self.listed else self._found_in(leaf)
        return Proposal(found, meta={"region": leaf})

    def _anywhere(self) -> Architecture:
        for _ in range(TRIES):
            found = self.space.sample(self.draws)
            if found not in self.seen:
                break
        return found

    # -- the tree ----------------------------------------------------------------------------------------------------

    def _learn(self) -> None:
        known = self.past.top(self.part.initial)
        codes, part = self.columns([k.architecture for k in known]), self.part
        self.regions = learned(codes, self._figures(), height=part.height, fewest=part.fewest, ridge=part.ridge)
        self.fitted, self.shuffle = len(self.past), self.draws.bits()
        self._line_up()

    def _figures(self) -> Array:
        worth = utilities([k.values for k in self.past.top(self.part.initial)])
        return quantiles(worth) if self.part.scale == "rank" else np.asarray(worth)

    def _line_up(self) -> None:
        """List what each region holds, in random order, and forget what was said of other regions."""
        assert self.regions is not None
        self.worth, self.leaf = None, {}
        order = np.random.default_rng(self.shuffle).permutation(len(self.listed))
        leaves = self.regions.leaves(self.codes[order])
        self.queues = {leaf: order[leaves == leaf].tolist() for leaf in self.regions.ordered()}

    def _leaves(self, architectures: Sequence[Architecture]) -> list[int]:
        """Return the leaf of each architecture; known ones are remembered until the tree changes."""
        assert self.regions is not None
        new = [a for a in architectures if a not in self.leaf]
        if new:
            self.leaf |= zip(new, self.regions.leaves(self.columns(new)).tolist(), strict=True)
        return [self.leaf[a] for a in architectures]

    def _members(self, waiting: Sequence[Architecture]) -> tuple[Array, Array]:
        """Return members and mean y of every node; those that are waited for are members without a figure."""
        if self.worth is None:
            known = [k.architecture for k in self.past.top(self.part.initial)]
            self.worth = self._summed(self._leaves(known), self._figures())
        number, total = self.worth
        mean = total / np.maximum(number, 1.0)
        if waiting:
            number = number + self._summed(self._leaves(waiting), np.zeros(len(waiting)))[0]
        return number, mean

    def _summed(self, leaves: Sequence[int], y: Array) -> tuple[Array, Array]:
        """Return how many are in every node, by its number, and the sum of their y."""
        node = np.asarray(leaves, dtype=np.int64)
        size = 2 ** (self.part.height + 1)
        number, total = np.zeros(size), np.zeros(size)
        while node.any():
            number += np.bincount(node, minlength=size)
            total += np.bincount(node, weights=y, minlength=size)
            node = node // 2  # node 0 is none: what ended higher up is counted there, and never looked at
        return number, total

    def _chosen(self, waiting: Sequence[Architecture]) -> int:
        """Descend from the root to a leaf; of listed regions only those with something left are entered."""
        assert self.regions is not None
        (number, mean), node = self._members(waiting), 1
        reachable = self._open() if self.listed else None
        while node in self.regions.splits:
            children = [c for c in (2 * node, 2 * node + 1) if reachable is None or c in reachable]
            if not children:
                break
            above = float(number[node])
            node = max(children, key=lambda c: bound(float(mean[c]), float(number[c]), above, self.part.exploration))
        return node

    def _open(self) -> set[int]:
        """Return the nodes whose regions hold a listed architecture that was neither asked nor told."""
        found: set[int] = set()
        for leaf, queue in self.queues.items():
            while queue and self.listed[queue[-1]] in self.seen:
                queue.pop()
            node = leaf if queue else 0
            while node and node not in found:
                found.add(node)
                node //= 2
        return found

    # -- an architecture of a region ---------------------------------------------------------------------------------

    def _listed_in(self, leaf: int) -> Architecture:
        queue = self.queues.get(leaf)
        return self.listed[queue.pop()] if queue else self._anywhere()

    def _found_in(self, leaf: int) -> Architecture:
        """Return an architecture of a region that is not listed: by rejection, then by mutants of its members."""
        assert self.regions is not None
        drawn = [self.space.sample(self.draws) for _ in range(TRIES)]
        known = [k.architecture for k in self.past.known]
        inside = [a for a, at in zip(known, self._leaves(known), strict=True) if at == leaf]
        near: list[tuple[int, Architecture]] = []
        for _ in range(2):
            fresh = [a for a in drawn if a not in self.seen] or drawn
            for found, at in zip(fresh, self.regions.leaves(self.columns(fresh)).tolist(), strict=True):
                if at == leaf:
                    return found
                near.append((len(commonprefix([f"{leaf:b}", f"{at:b}"])), found))
            drawn = [self.space.mutate(self.draws.choice(inside or known), self.draws) for _ in range(TRIES)]
        return max(near, key=itemgetter(0))[1]

    # -- results -----------------------------------------------------------------------------------------------------

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take note of trials; their regions are worth what they say at once."""
        for trial in trials:
            self.seen.add(trial.architecture)
            if self.past.add(trial) is not None:
                self.worth = None

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON; regions by their planes."""
        splits = None
        if self.regions is not None:
            splits = {str(n): [*w.tolist(), cut] for n, (w, cut) in self.regions.splits.items()}
        return {
            "drawn": self.draws.drawn,
            "asked": self.asked,
            "fitted": self.fitted,
            "shuffle": self.shuffle,
            "splits": splits,
            "past": self.past.state_dict(),
            "seen": sorted((dict(a) for a in self.seen), key=str),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.draws.drawn, self.asked = int(state["drawn"]), int(state["asked"])
        self.fitted, self.shuffle = int(state["fitted"]), int(state["shuffle"])
        self.past.load_state_dict(state["past"])
        self.seen = {Architecture(a) for a in state["seen"]}
        planes: Mapping[str, list[float]] | None = state["splits"]
        self.regions = None
        if planes is not None:
            self.regions = Regions({int(n): (np.asarray(p[:-1]), float(p[-1])) for n, p in planes.items()})
            self._line_up()
