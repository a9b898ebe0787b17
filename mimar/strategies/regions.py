"""Regions of a space under a binary tree of planes, learned from figures, and what a region is worth to a bandit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Split = tuple[Array, float]  # the normal w of a plane, and where it cuts: good where w·x > cut


class Regions:
    """A binary tree of splits: node 1 is the root, 2n the good child of node n and 2n + 1 the bad one."""

    def __init__(self, splits: Mapping[int, Split]) -> None:
        self.splits = dict(splits)

    def leaves(self, x: Array) -> Array:
        """Return the leaf of every row, int64 (N,): one and only one each."""
        found = np.ones(len(x), dtype=np.int64)
        left = [(1, np.arange(len(x)))]
        while left:
            node, rows = left.pop()
            if node in self.splits:
                w, cut = self.splits[node]
                good = x[rows] @ w > cut
                left += [(2 * node, rows[good]), (2 * node + 1, rows[~good])]
            else:
                found[rows] = node
        return found

    def ordered(self) -> list[int]:
        """Return all leaves, from the all-good to the all-bad one."""
        found, left = [], [1]
        while left:
            node = left.pop()
            if node in self.splits:
                left += [2 * node + 1, 2 * node]
            else:
                found.append(node)
        return found


def learned(x: Array, y: Array, *, height: int, fewest: int, ridge: float) -> Regions:
    """Return the regions that split (N, D) codes by their (N,) figures: `height` splits deep, where there are `fewest` members.

    A split is a ridge regression; a node whose members are all alike, or on one side, stays a leaf.
    """
    splits: dict[int, Split] = {}
    members = {1: np.arange(len(x))}
    for node in range(1, 2**height):
        inside = members.get(node)
        if inside is None or len(inside) < fewest or np.ptp(y[inside]) == 0.0:
            continue
        a = x[inside] - x[inside].mean(0)
        w = np.linalg.solve(a.T @ a + ridge * np.eye(a.shape[1]), a.T @ (y[inside] - y[inside].mean()))
        ways = x[inside] @ w
        cut = float(ways.mean())
        good = ways > cut
        if good.any() and not good.all():
            splits[node] = w, cut
            members[2 * node], members[2 * node + 1] = inside[good], inside[~good]
    return Regions(splits)


def bound(mean: float, n: float, above: float, exploration: float) -> float:
    """Return the worth of a node: mean + 2 c √(2 ln n_parent / n); infinite without members."""
    return mean + 2 * exploration * math.sqrt(2 * math.log(max(above, 1.0)) / n) if n else math.inf
