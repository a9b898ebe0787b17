"""The behavioural checks of the recipes: what each claims, on which task, at which scale, fixed before it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimar.evaluators import Retrain

NET = "nasbench201:cells=1,channels=8"
SMALL = {"net": NET, "epochs": 10, "batch": 64, "retrain": Retrain(epochs=10), "baseline": 0}
SEEDS = tuple(range(8))


@dataclass(frozen=True)
class BeatsRandom:
    """The derived network is better than the best of random search under the same budget, chosen on the holdout.

    One two-sided test over the seeds, fixed beforehand; test accuracy, every network retrained alike.
    """

    task: str
    options: Mapping[str, Any]
    seeds: tuple[int, ...] = SEEDS

    @property
    def text(self) -> str:
        """The claim in words."""
        return f"on {self.task.split(':')[0]}, the derived network beats random search under the same budget"


@dataclass(frozen=True)
class NearUnroll:
    """One estimator is nearer to a long unroll than another: the one comparison is of `ours` with `theirs`.

    The catalogue expects neumann(K=10, auto) > neumann(K=2, lr) ≥ second order > first order; all are recorded.
    """

    ours: str = "neumann K=10, auto"
    theirs: str = "neumann K=2, lr"
    seeds: tuple[int, ...] = SEEDS

    @property
    def text(self) -> str:
        """The claim in words."""
        return f"the cosine to a long unroll is larger for {self.ours} than for {self.theirs}"


Claim = BeatsRandom | NearUnroll

TABLES: tuple[Claim, ...] = (
    BeatsRandom("mnist1d:limit=2000", SMALL),
    BeatsRandom("cifar10-packed:size=16,limit=2000", SMALL),
)

CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "idarts": (NearUnroll(), *TABLES),
    "darts-2nd": TABLES,
    "darts-1st": TABLES,
}
