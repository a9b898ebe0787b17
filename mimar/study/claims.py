"""The behavioural checks of the recipes: what each claims, on which task, at which scale, fixed before it is measured."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mimar import recipes
from mimar.evaluators import Retrain
from mimar.study import cells

NET = "nasbench201:cells=1,channels=8"
SMALL = {"net": NET, "epochs": 10, "batch": 64, "retrain": Retrain(epochs=10), "baseline": 0}
SEEDS = tuple(range(8))

# The scale of the comparison of the differentiable family (`make study`): its cells are these claims' cells.
FINAL = Retrain(epochs=10)
SHORT = {"epochs": 8, "batch": 32, "retrain": FINAL, "device": "cpu"}
CELLS = {**SHORT, "net": NET}
CIFAR, FASHION = "cifar10-packed:size=16,limit=1000", "fashion-mnist:size=14,limit=500"
S2 = {**SHORT, "net": "s2:cells=3,channels=4"}
S4 = {**SHORT, "net": "s4:cells=3,channels=4"}


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


@dataclass(frozen=True)
class Figure:
    """One number of a finished search: its name in words, how it is read, and whether more of it is better."""

    name: str
    of: Callable[[Mapping[str, Any]], float]
    more: bool = False


TEST = Figure("the test accuracy", lambda r: r["metrics"]["test_accuracy"], more=True)
KEPT = Figure(
    "the derived network's accuracy before retraining", lambda r: r["supernet"]["derived_accuracy"], more=True
)
GAP = Figure("the discretisation gap", lambda r: r["supernet"]["valid_accuracy"] - r["supernet"]["derived_accuracy"])
COST = Figure("the search's cost in MACs", lambda r: r["budget"]["search"])
SKIPS = Figure("the number of skips derived", lambda r: float(r["supernet"]["skips"]))
MACS = Figure("the derived network's MACs", lambda r: r["metrics"]["macs"])


@dataclass(frozen=True)
class Beside:
    """A figure of the recipe is better than `factor` times that of another recipe on the same task, net and seeds.

    `own`, `theirs`: options of one side alone. One two-sided rank test over the seeds, fixed beforehand.
    """

    other: str
    figure: Figure
    task: str = CIFAR
    options: Mapping[str, Any] = field(default_factory=lambda: CELLS)
    factor: float = 1.0
    own: Mapping[str, Any] = field(default_factory=dict)
    theirs: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = SEEDS

    @property
    def text(self) -> str:
        """The claim in words."""
        place = f"on {self.task.split(':')[0]} in {str(self.options['net']).split(':')[0]}"
        size = "" if self.factor == 1.0 else f"{self.factor:.3g} times "
        return f"{place}, {self.figure.name} is {'larger' if self.figure.more else 'smaller'} than {size}that of {self.other}"


@dataclass(frozen=True)
class Teaches:
    """Few steps on learned data teach networks of the space more than as many on real data: digits, 16 networks a seed.

    The rank correlation with a short real training is recorded beside it; the catalogue expects above 0.3.
    """

    seeds: tuple[int, ...] = SEEDS

    @property
    def text(self) -> str:
        """The claim in words."""
        return "on digits, 32 steps on learned data give a higher accuracy than 32 steps on real data"


@dataclass(frozen=True)
class Reached:
    """A published figure of a benchmark table, measured again: the mean verdict of `runs` searches lies in a range.

    `low`, `high`: the range, fixed beforehand (fractions where the verdict is an accuracy); None: up to the best there is.
    """

    task: str
    options: Mapping[str, Any]
    low: float
    high: float | None
    published: str
    runs: int = 500

    @property
    def text(self) -> str:
        """The claim in words."""
        given = ", ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in self.options.items()
        )
        bounds = f"between {self.low:g} and {self.high:g}" if self.high is not None else f"at least {self.low:g}"
        return f"on {self.task} with {given}, the mean verdict of {self.runs} searches is {bounds}"


Claim = BeatsRandom | NearUnroll | Beside | Teaches | Reached

TABLES: tuple[Claim, ...] = (
    BeatsRandom("mnist1d:limit=2000", SMALL),
    BeatsRandom("cifar10-packed:size=16,limit=2000", SMALL),
)
RANDOM = BeatsRandom(CIFAR, CELLS)
FLAT = Beside("darts-1st", GAP)

# 12 epochs a query, 12,000 simulated seconds; and 200 epochs a query (blackbox protocol of NAS-Bench-201).
SHORT_QUERY, LONG_QUERY = "nasbench201", "nasbench201:epochs=200"
TIME = {"seconds": 12_000.0}
BARE = "none under this protocol; random search 93.87"
PROXIES = "runs/proxies-nasbench201.npz"  # written by mimar.study.proxies

CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "idarts": (NearUnroll(), *TABLES),
    "darts-2nd": TABLES,
    "darts-1st": TABLES,
    "rarts": (Beside("darts-2nd", COST, factor=0.6), RANDOM),
    "sd-darts": (FLAT, RANDOM),
    "small-temperature": (Beside("darts-1st", GAP, factor=1 / 3), RANDOM),
    "sharpdarts": (Beside("darts-1st", KEPT), RANDOM),
    "pc-darts": (Beside("darts-1st", COST, factor=0.6), RANDOM),
    "darts-pt": (Beside("darts-1st", TEST, FASHION, S2), RANDOM),
    "sdarts-rs": (FLAT, RANDOM),
    "sdarts-adv": (FLAT, RANDOM),
    "robust-darts": (Beside("darts-2nd", TEST, FASHION, S4), RANDOM),
    "darts-es": (Beside("darts-2nd", TEST, FASHION, S2), RANDOM),
    "darts-ada": (Beside("darts-2nd", TEST, FASHION, S2), RANDOM),
    "r-darts-l2": (Beside("darts-2nd", SKIPS, FASHION, S2), RANDOM),
    "r-darts-dp": (Beside("darts-2nd", SKIPS, FASHION, S2), RANDOM),
    "darts-plus": (Beside("darts-1st", SKIPS, FASHION, S2), RANDOM),
    "dropnas": (Beside("darts-1st", SKIPS, FASHION, S2), RANDOM),
    "darts-prime": (FLAT, RANDOM),
    "d-darts": (FLAT, RANDOM),
    "dartopti": (Beside("d-darts", TEST), RANDOM),
    "fair-darts": (FLAT, RANDOM),
    "snas": (FLAT, RANDOM),
    "gdas": (Beside("darts-1st", COST, factor=0.5), RANDOM),
    "drnas": (Beside("darts-1st", TEST), RANDOM),
    "unas": (Beside("darts-1st", MACS), RANDOM),
    "manas": (Beside("random-ws", TEST), RANDOM),
    "manas-ls": (Beside("random-ws", TEST), RANDOM),
    "dass": (RANDOM,),
    "bnas": (Beside("pc-darts", COST, factor=0.7), RANDOM),
    "gtn": (Teaches(), RANDOM),
    "random": (Reached(SHORT_QUERY, TIME, 0.9370, 0.9382, "93.70 ± 0.36 (Dong and Yang, 2020)"),),
    "regularized-evolution": (
        Reached(
            SHORT_QUERY, {**TIME, "population": 10, "sample": 3}, 0.9386, 0.9400, "93.92 ± 0.30 (Dong and Yang, 2020)"
        ),
        Reached(SHORT_QUERY, TIME, 0.9405, 0.9418, "none with 30 and 10"),
    ),
    "local-search": (Reached(SHORT_QUERY, TIME, 0.9403, 0.9420, "none under this protocol"),),
    "reinforce": (Reached(SHORT_QUERY, TIME, 0.9374, 0.9387, "93.85 ± 0.37 (Dong and Yang, 2020)"),),
    "differential-evolution": (
        Reached(SHORT_QUERY, TIME, 0.9377, 0.9390, "none under this protocol"),
        Reached(LONG_QUERY, {"queries": 500}, 0.9435, None, "none under this protocol", runs=100),
    ),
    "nas-bowl": (Reached(LONG_QUERY, {"queries": 150}, 0.9426, None, "none under this protocol", runs=100),),
    "lanas": (Reached(LONG_QUERY, {"queries": 500}, 0.9433, None, "none under this protocol", runs=100),),
    "bohb": (Reached(SHORT_QUERY, TIME, 0.9352, 0.9370, "93.61 ± 0.52 (Dong and Yang, 2020)"),),
    "robot": (
        Reached(
            SHORT_QUERY,
            {"queries": 20, "scores": f"table:{PROXIES}"},
            0.9420,
            None,
            "94.36 (He et al., 2024)",
            runs=100,
        ),
    ),
    "gbdt-nas": (
        Reached(
            LONG_QUERY,
            {"queries": 150, "initial": 100, "batch": 50},
            0.9390,
            None,
            "94.14 ± 0.04 on NAS-Bench-101 after 2,000 (Luo et al., 2020)",
            runs=100,
        ),
    ),
    "neural-predictor": (
        Reached(
            LONG_QUERY,
            {"queries": 150, "initial": 100, "batch": 50},
            0.9412,
            None,
            "94.04 ± 0.05 on NAS-Bench-101 after 2,000 (Wen et al., 2020)",
            runs=40,
        ),
    ),
    "cmab-nas": (Reached(LONG_QUERY, {"queries": 150}, 0.9400, None, "none under this protocol", runs=100),),
    **{
        name: (Reached(LONG_QUERY, {"queries": 150}, 0.9390, None, BARE, runs=runs),)
        for name, runs in (
            ("sepx", 100),
            ("hierarchical-evolution", 100),
            ("tabnas", 100),
            ("pnas", 40),
            ("epnas", 40),
            ("nas-rl", 40),
            ("deephyper", 40),
            ("enas-memory", 40),
            ("gbdt-nas-3s", 40),
            ("fbnetv3", 20),
        )
    },
    "mobster": (Reached(SHORT_QUERY, TIME, 0.9361, None, "none under this protocol; BOHB 93.61", runs=40),),
}
RULE = {"first": 2, "around": 1, "back": 2}  # the published 10, 4 and 8 of 50 epochs, for 8 and rounded up
OWN: Mapping[str, Mapping[str, Any]] = {  # what a recipe has instead of the common options, or beside them
    "random-ws": {"candidates": 20},
    "pc-darts": {"warmup": 2},
    "gtn": {"candidates": 20},
    "darts-es": RULE,
    "darts-ada": RULE,
}


def options(recipe: str, claim: BeatsRandom | Beside) -> dict[str, Any]:
    """Return a recipe's options in a claim: those it knows of the claim's, and its own at the study's scale.

    A recipe whose finished networks are of another kind (sparse, binary, untied) trains random ones of that kind itself.
    """
    known = inspect.signature(recipes.load(recipe)[1]).parameters
    own = OWN.get(recipe, {}) if "device" in claim.options else {}
    found = {key: value for key, value in {**claim.options, **own}.items() if key in known}
    return {**found, "baseline": None if cells.lasting(recipe) else 0}
