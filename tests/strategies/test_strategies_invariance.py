"""What a strategy finds does not hang on names and orders, nor on evaluations that fail or are noisy; all keep the laws of ask and tell.

Every strategy of a recipe (`mimar.study.cover` finds them) searches one made-up table of 625 architectures under three
spellings: as it is, with the options of every choice in another order, and with choices in another order, all renamed.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from mimar import recipes
from mimar.evaluators.parts import Evaluator
from mimar.evaluators.table import Table
from mimar.evaluators.unreliable import Unreliable
from mimar.objectives import Best
from mimar.schedulers import Asynchronous
from mimar.search.session import Session, Terms, best
from mimar.space import Architecture, Choice, Proposal, Space, Trial
from mimar.strategies import Random
from mimar.study import cover
from mimar.testing.strategy import check_strategies

CHOICES, OPTIONS = 4, 5
SEEDS = 30
QUERIES = 40
FEW = {"queries": 25, "seeds": 12}  # of strategies that fit a model or train a policy before they ask
SLOW = {"deephyper", "enas-memory", "epnas", "fbnetv3", "mobster", "mnasnet", "nas-rl", "neural-predictor", "pnas"}
NOISE, FAILURES = 0.02, 0.1  # of accuracies between 0.5 and 0.9
SPELLINGS = ("as it is", "options reordered", "choices reordered and all renamed")


def worth(codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the accuracy of architectures given as option numbers (R, 4): options have a worth, neighbours help each other."""
    rng = np.random.default_rng(7)
    alone, together = rng.random((CHOICES, OPTIONS)), rng.random((CHOICES - 1, OPTIONS, OPTIONS))
    found = sum(alone[i][codes[:, i]] for i in range(CHOICES))
    return found + 0.7 * sum(together[i][codes[:, i], codes[:, i + 1]] for i in range(CHOICES - 1))


@functools.cache
def table(spelling: str = SPELLINGS[0]) -> Table:
    """Return the table in a spelling: the same architectures with the same figures."""
    codes = np.indices((OPTIONS,) * CHOICES).reshape(CHOICES, -1).T
    raw = worth(codes)
    good = 0.5 + 0.4 * (raw - raw.min()) / np.ptp(raw)
    rng, orders, names, words = np.random.default_rng(1), [list(range(OPTIONS))] * CHOICES, "abcd", "vwxyz"
    places = list(range(CHOICES))
    if spelling != SPELLINGS[0]:
        orders = [rng.permutation(OPTIONS).tolist() for _ in range(CHOICES)]
    if spelling == SPELLINGS[2]:
        places, names, words = [2, 0, 3, 1], "lazy", "57319"
    space = Space([Choice(names[i], tuple(words[o] for o in orders[i])) for i in places])
    rows = [{names[i]: words[row[i]] for i in places} for row in codes.tolist()]
    return Table.from_arrays(space, {"valid_accuracy": good}, architectures=rows, name=spelling)


@functools.cache
def strategy(name: str) -> Any:
    """Return the strategy of a recipe with figures small enough for a few queries."""
    build = recipes.load(name)[1]
    found = build(**{k: v for k, v in cover.GIVEN.items() if k in inspect.signature(build).parameters}).strategy
    if name in ("pnas", "epnas"):
        found = replace(found, predictor=replace(found.predictor, steps=15, members=2))
    return found.on(None, 0, "cpu") if hasattr(found, "on") else found


def searched(part: Any, evaluator: Evaluator, seed: int, queries: int) -> Session:
    terms = Terms(evaluator, Best(), queries=queries, seed=seed)
    session = Session(terms, part.start(evaluator.space, seed), Asynchronous().start((), seed))
    while session.step() is not None:
        pass
    return session
