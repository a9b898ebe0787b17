"""How alike two architectures are by the motifs that their graphs share.

Level-0 motifs are labels of nodes; one of level h + 1 is one of level h with all those of level h next to it:

    ℓ_{h+1}(v) = (ℓ_h(v), sorted [ℓ_h(u) : u next to v]),     φ_H(G) = counts of all motifs of levels 0 … H
    k(G, G') = φᵀφ' / (‖φ‖ ‖φ'‖)     or, by assignment,     Σ_j min(φ_j, φ'_j) / √(Σ_j φ_j · Σ_j φ'_j)

Shervashidze et al., "Weisfeiler-Lehman graph kernels", JMLR 2011; Kriege et al., "On valid optimal assignment kernels",
NeurIPS 2016; on contracted graphs as in Ru et al., "NAS-BOWL", ICLR 2021.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal
from weakref import WeakKeyDictionary

import numpy as np

from mimar.core.ranges import Whole, validate
from mimar.predictors.graphs import Contracted, has_graph, reader, unread
from mimar.predictors.laplacian import Decisions, Laplacian
from mimar.predictors.parts import Array
from mimar.space import Architecture, Space

Motif = str | tuple[int, tuple[int, ...]]  # a label, or the number of a motif and those of its neighbours
Bag = tuple[tuple[Array, Array], ...]  # for each level the numbers of its motifs and how often each occurs
KEPT = 30_000  # bags in memory; the oldest go


@dataclass(frozen=True)
class WeisfeilerLehman:
    """The kernel of shared motifs up to level H ≤ `depth`; H (from 1, or 0 where depth is 0) is left to whoever fits it.

    `neighbours`: motifs grow towards "outputs", what a node feeds, as in the authors' release, or "inputs". `matching`:
    "count" or "assignment". Choices that the structure does not read (hyper-parameters beside a cell) multiply it by a
    `Laplacian` of theirs. On a space without graphs it is `Laplacian()`.
    """

    depth: Whole = 3
    neighbours: Literal["outputs", "inputs"] = "outputs"
    matching: Literal["count", "assignment"] = "count"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space) -> Motifs | Decisions:
        """Return the kernel on a space."""
        if not has_graph(space):
            return Laplacian().start(space)
        kept = _BAGS.setdefault(space, {})
        if self not in kept:
            kept[self] = Bags(self, reader(space))
        others = unread(space)
        return Motifs(kept[self], Laplacian((0.5,)).start(space, others) if others else None)


class Bags:
    """The motifs of architectures, counted once and then remembered."""

    def __init__(self, part: WeisfeilerLehman, read: Callable[[Architecture], Contracted]) -> None:
        self.part, self.read = part, read
        self.motifs: list[Motif] = []  # by number
        self._number: dict[Motif, int] = {}
        self._bags: dict[Architecture, Bag] = {}

    def __call__(self, arch: Architecture) -> Bag:
        """Return the bag of an architecture, level by level."""
        found = self._bags.get(arch)
        if found is None:
            if len(self._bags) >= KEPT:
                del self._bags[next(iter(self._bags))]
            found = self._bags[arch] = self.count(self.read(arch))
        return found

    def count(self, graph: Contracted) -> Bag:
        """Return the bag of a graph."""
        near = graph.after if self.part.neighbours == "outputs" else graph.before
        labels = [self._of(label) for label in graph.labels]
        bag = [self._counts(labels)]
        for _ in range(self.part.depth):
            labels = [self._of((own, tuple(sorted([labels[u] for u in near[v]])))) for v, own in enumerate(labels)]
            bag.append(self._counts(labels))
        return tuple(bag)

    def _counts(self, labels: list[int]) -> tuple[Array, Array]:
        counts = Counter(labels)
        if self.part.matching == "assignment":  # min(a, b) = Σ_c [a ≥ c][b ≥ c]: a motif for each c ≥ 1
            counts = Counter(
                [m if c == 1 else self._of((m, (-c,))) for m, n in counts.items() for c in range(1, n + 1)]
            )
        return np.array([*counts], dtype=np.int64), np.array([*counts.values()], dtype=np.float64)

    def _of(self, motif: Motif) -> int:
        number = self._number.get(motif)
        if number is None:
            number = self._number[motif] = len(self.motifs)
            self.motifs.append(motif)
        return number

    def name(self, number: int) -> str:
        """Return a motif in words: "nor_conv_3x3 before (nor_conv_1x1 before output) and output"."""
        motif = self.motifs[number]
        if isinstance(motif, str):
            return motif
        own, near = motif
        if near and near[0] < 0:
            return f"{self.name(own)}, {-near[0]} times"
        while not isinstance(root := self.motifs[own], str):
            own = root[0]
        names = sorted(self.name(u) for u in near)
        joined = " and ".join(f"({n})" if " " in n else n for n in names) or "nothing"
        return f"{root} {'before' if self.part.neighbours == 'outputs' else 'after'} {joined}"


_BAGS: WeakKeyDictionary[Space, dict[WeisfeilerLehman, Bags]] = WeakKeyDictionary()


class Motifs:
    """The kernel at work: `fit` takes note of architectures, `cross` compares others with them. Settings are values of H."""

    def __init__(self, bags: Bags, beside: Decisions | None = None) -> None:
        self.bags, self.beside = bags, beside
        self.settings = tuple(range(min(bags.part.depth, 1), bags.part.depth + 1))
        self.columns: list[Array] = []  # numbers of the motifs of each level, one a column
        self.counts: list[Array] = []  # (N, D_h) for each level
        self.norms: Array = np.zeros((0, 0))

    def fit(self, architectures: Sequence[Architecture]) -> list[Array]:
        """Take note of N architectures and return their kernel under every setting, (N, N) each."""
        bags = [self.bags(a) for a in architectures]
        levels = range(self.bags.part.depth + 1)
        self.columns = [np.unique(np.concatenate([bag[h][0] for bag in bags])) for h in levels]
        self.counts = [self._matrix(bags, h) for h in levels]
        self.norms = self._norms(bags)
        dots = np.cumsum([c @ c.T for c in self.counts], axis=0)
        beside = self.beside.fit(architectures)[0] if self.beside else 1.0
        return [dots[h] / np.outer(self.norms[h], self.norms[h]) * beside for h in self.settings]

    def cross(self, architectures: Sequence[Architecture], setting: int) -> Array:
        """Return the kernel of M architectures with those noted, (M, N)."""
        depth, bags = self.settings[setting], [self.bags(a) for a in architectures]
        dots = sum(self._matrix(bags, h) @ self.counts[h].T for h in range(depth + 1))
        beside = self.beside.cross(architectures, 0) if self.beside else 1.0
        found: Array = dots / np.outer(self._norms(bags)[depth], self.norms[depth]) * beside
        return found

    def _matrix(self, bags: Sequence[Bag], level: int) -> Array:
        """Return how often each noted motif of a level occurs, (M, D_h)."""
        columns = self.columns[level]
        place = np.full(len(self.bags.motifs), -1)
        place[columns] = np.arange(len(columns))
        rows = np.repeat(np.arange(len(bags)), [len(bag[level][0]) for bag in bags])
        at = place[np.concatenate([bag[level][0] for bag in bags])]
        found = np.zeros((len(bags), len(columns)))
        known = at >= 0
        found[rows[known], at[known]] = np.concatenate([bag[level][1] for bag in bags])[known]
        return found

    def _norms(self, bags: Sequence[Bag]) -> Array:
        """Return ‖φ_H‖ for every H, (depth + 1, M)."""
        squares = np.array([[float(counts @ counts) for _, counts in bag] for bag in bags])
        found: Array = np.sqrt(np.cumsum(squares, axis=1)).T
        return found

    def features(self, setting: int) -> Array:
        """Return φ_H of the noted architectures, (N, D)."""
        return np.concatenate(self.counts[: self.settings[setting] + 1], axis=1)

    def slopes(self, weights: Array, setting: int) -> Array:
        """Return the derivative of Σ_b weights_b k(a, b) in φ_H(a) at every noted architecture, (N, D).

        With unit vectors φ̂ = φ/‖φ‖ it is (Σ_b weights_b φ̂_b − f(a) φ̂_a) / ‖φ_a‖, f the sum itself: what of the sum
        of vectors is orthogonal to φ_a. Another kernel beside multiplies the weights.
        """
        norms = self.norms[self.settings[setting]][:, None]
        unit = self.features(setting) / norms
        shared = self.beside.own() if self.beside else 1.0
        held = shared * weights[None, :] * np.ones((len(unit), 1))  # (N, N): row a, weights of b
        sums = held @ unit
        value = (sums * unit).sum(1, keepdims=True)
        found: Array = (sums - value * unit) / norms
        return found

    def described(self, setting: int) -> list[tuple[str, int]]:
        """Return the motif of every column of `features` in words, and how many noted architectures have it."""
        depth = self.settings[setting]
        names = [self.bags.name(int(n)) for column in self.columns[: depth + 1] for n in column]
        return list(zip(names, (self.features(setting) > 0).sum(0).tolist(), strict=True))
