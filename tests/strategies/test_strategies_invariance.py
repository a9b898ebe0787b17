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
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimar import recipes
from mimar.core.streams import Draws
from mimar.evaluators.parts import Evaluator
from mimar.evaluators.table import Table
from mimar.evaluators.unreliable import Unreliable
from mimar.objectives import Best
from mimar.schedulers import Asynchronous
from mimar.search.session import Session, Terms, best
from mimar.space import Architecture, Choice, Proposal, Space, Trial
from mimar.study import cover
from mimar.testing.strategy import check_strategies

CHOICES, OPTIONS = 4, 5
SEEDS = 30
QUERIES = 40
FEW = (16, 10)  # queries and seeds of strategies that fit a model, or train a policy, before they ask
SLOW = {"bohb", "deephyper", "enas-memory", "epnas", "fbnetv3", "gbdt-nas", "gbdt-nas-3s"}
SLOW |= {"mnasnet", "mobster", "nas-bowl", "nas-rl", "neural-predictor", "pnas", "robot"}
NOISE, FAILURES = 0.02, 0.1  # of accuracies between 0.5 and 0.9
LEVEL = 0.01
SPELLINGS = ("as it is", "options reordered", "choices reordered and all renamed")
# What these find hangs on the order of choices, and of options where none is neutral, by design.
GROWING = "it decides choice by choice; those not yet decided have a neutral option, else the first"
ORDERED = {"pnas": GROWING, "epnas": GROWING}


def worth(codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the accuracy of architectures given as option numbers (R, 4): options have a worth, neighbours help each other."""
    rng = np.random.default_rng(7)
    alone, together = rng.random((CHOICES, OPTIONS)), rng.random((CHOICES - 1, OPTIONS, OPTIONS))
    found = sum(alone[i][codes[:, i]] for i in range(CHOICES))
    return found + 0.7 * sum(together[i][codes[:, i], codes[:, i + 1]] for i in range(CHOICES - 1))


@functools.cache
def table(spelling: str = SPELLINGS[0], neutral: str = "v") -> Table:
    """Return the table in a spelling: the same architectures with the same figures. `neutral`: a name of one option."""
    codes = np.indices((OPTIONS,) * CHOICES).reshape(CHOICES, -1).T
    raw = worth(codes)
    good = 0.5 + 0.4 * (raw - raw.min()) / np.ptp(raw)
    rng, orders, names, words = np.random.default_rng(1), [list(range(OPTIONS))] * CHOICES, "abcd", (neutral, *"wxyz")
    places = list(range(CHOICES))
    if spelling != SPELLINGS[0]:
        orders = [rng.permutation(OPTIONS).tolist() for _ in range(CHOICES)]
    if spelling == SPELLINGS[2]:
        places, names, words = [2, 0, 3, 1], "lazy", tuple("57319")
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


def sizes(name: str) -> tuple[int, int]:
    """Return queries and seeds."""
    return FEW if name in SLOW else (QUERIES, SEEDS)


@functools.cache
def runs(name: str, spelling: str = SPELLINGS[0]) -> tuple[Session, ...]:
    queries, seeds = sizes(name)
    first = 1000 * SPELLINGS.index(spelling)  # other seeds: the samples are independent
    return tuple(searched(strategy(name), table(spelling), first + s, queries) for s in range(seeds))


def highest(session: Session) -> float:
    """Return the best value that a search found."""
    return max(t.values[0] for t in session.trials)


def average(session: Session) -> float:
    """Return the mean of all that a search measured, which shows more than its best alone."""
    return math.fsum(t.values[0] for t in session.trials) / len(session.trials)


def p_value(ours: Sequence[Session], theirs: Sequence[Session], figure: Callable[[Session], float]) -> float:
    from scipy import stats

    samples = [[round(figure(s), 12) for s in side] for side in (ours, theirs)]
    return float(stats.mannwhitneyu(*samples, alternative="two-sided").pvalue)


def holm(values: Mapping[Any, float]) -> dict[Any, float]:
    """Return p values corrected for their number: sorted, the i-th of m times m − i, never falling."""
    found, largest = {}, 0.0
    for i, key in enumerate(sorted(values, key=lambda k: values[k])):
        largest = max(largest, min(1.0, (len(values) - i) * values[key]))
        found[key] = largest
    return found


@functools.cache
def corrected(figure: Callable[[Session], float]) -> dict[tuple[str, str], float]:
    """Return the corrected p of every strategy under every other spelling."""
    names, others = cover.strategies(), SPELLINGS[1:]
    return holm({(n, o): p_value(runs(n), runs(n, o), figure) for n in names for o in others})


def test_spellings_are_one_table() -> None:
    figures = [sorted(table(s).lookup(range(len(table(s))), "valid_accuracy").tolist()) for s in SPELLINGS]
    assert figures[0] == figures[1] == figures[2] and len(set(figures[0])) == OPTIONS**CHOICES
    first, second, third = (table(s).space.ordered for s in SPELLINGS)
    assert all(set(a.options) == set(b.options) and a.options != b.options for a, b in zip(first, second, strict=True))
    assert not {c.name for c in first} - {"a", "b", "c", "d"} and [c.name for c in third] == ["z", "l", "y", "a"]
    renamed = dict(zip("vwxyz", "57319", strict=True))
    for arch in itertools.islice(table().space.enumerate(), 0, None, 50):
        other = Architecture({n: renamed[str(arch[o])] for n, o in zip("lazy", "abcd", strict=True)})
        told = [table(s).evaluate(Proposal(a)).metrics for s, a in zip(SPELLINGS, (arch, arch, other), strict=True)]
        assert told[0] == told[1] == told[2]


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


@pytest.mark.parametrize("name", [n for n in cover.strategies() if n not in ORDERED])
def test_what_is_found_does_not_hang_on_names_and_orders(name: str) -> None:
    for spelling in SPELLINGS[1:]:
        assert corrected(highest)[name, spelling] > LEVEL
        assert corrected(average)[name, spelling] > LEVEL


@pytest.mark.parametrize("name", ORDERED)
def test_of_those_that_grow_it_hangs_on_the_order_unless_there_is_a_neutral_option(name: str) -> None:
    assert min(corrected(average)[name, s] for s in SPELLINGS[1:]) <= LEVEL
    queries, seeds = sizes(name)
    ours, theirs = (
        [searched(strategy(name), table(s, "skip_connect"), 1000 * i + k, queries) for k in range(seeds)]
        for i, s in enumerate(SPELLINGS[:2])
    )
    assert min(p_value(ours, theirs, figure) for figure in (highest, average)) > LEVEL


@dataclass(frozen=True)
class First:
    """Planted: the first option of every choice, by place or by name, but for one choice, which is drawn."""

    by_name: bool

    def start(self, space: Space, seed: int) -> Any:
        return Beginning(self, space, seed)


class Beginning:
    """The planted searcher."""

    def __init__(self, part: First, space: Space, seed: int) -> None:
        self.space, self.draws = space, Draws(seed, "planted")
        self.first = {c.name: min(c.options) if part.by_name else c.options[0] for c in space.choices}

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        drawn = [self.draws.choice(self.space.choices) for _ in range(n)]
        return [Proposal(Architecture({**self.first, c.name: self.draws.choice(c.options)})) for c in drawn]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn nothing."""


@pytest.mark.parametrize(("part", "spelling"), [(First(False), SPELLINGS[1]), (First(True), SPELLINGS[2])])
def test_a_planted_dependence_is_seen(part: Any, spelling: str) -> None:
    """Even as one of all strategies, with the few seeds of the slow ones."""
    queries, seeds = FEW
    ours, theirs = (
        [searched(part, table(s), seed, queries) for seed in range(seeds)] for s in (SPELLINGS[0], spelling)
    )
    others = dict.fromkeys(range(2 * len(cover.strategies()) - 1), 0.5)
    for figure in (highest, average):
        assert holm({**others, "planted": p_value(ours, theirs, figure)})["planted"] <= LEVEL


# --- failures and noise ---------------------------------------------------------------------------------------------


@functools.cache
def troubled(name: str) -> tuple[Session, ...]:
    queries, seeds = sizes(name)
    evaluator = Unreliable(table(), failures=FAILURES, noise=NOISE)
    return tuple(searched(strategy(name), evaluator, s, queries) for s in range(seeds))


def truth(trial: Trial) -> float:
    """Return the exact figure of what a trial measured."""
    return table().evaluate(Proposal(trial.architecture)).metrics["valid_accuracy"]


@pytest.mark.parametrize("name", cover.strategies())
def test_failures_and_noise_leave_the_log_valid(name: str) -> None:
    queries, seeds = sizes(name)
    for session in troubled(name):
        trials, ledger = session.trials, session.ledger
        assert [t.number for t in trials] == list(range(queries)) == list(range(ledger.queries))
        failed = [t for t in trials if t.result.status == "failed"]
        assert {t.result.status for t in trials} <= {"ok", "failed"} and ledger.failed == len(failed)
        assert all(t.values == () and t.result.metrics == {} and 0 <= t.result.cost <= 1 for t in failed)
        assert all(t.values == (t.result.metrics["valid_accuracy"],) for t in trials if t not in failed)
        assert ledger.cost == pytest.approx(math.fsum(t.result.cost for t in trials))
        top = best(trials)
        assert top is not None and top not in failed
        assert [Trial.from_json(json.loads(json.dumps(t.to_json()))).to_json() for t in trials] == [
            t.to_json() for t in trials
        ]
    number, all_of = sum(s.ledger.failed for s in troubled(name)), queries * seeds
    spread = math.sqrt(all_of * FAILURES * (1 - FAILURES))
    assert abs(number - FAILURES * all_of) <= 4 * spread  # they are drawn by trial, whatever is asked


@pytest.mark.parametrize("name", cover.strategies())
def test_failures_and_noise_cost_no_more_than_what_was_said(name: str) -> None:
    """The mean regret grows by at most σ √(2 ln N).

    That bounds the mean of the largest of N errors, so that much of what was measured may be missed by looking at noisy
    figures; the same bound is asked of all, though learning from them, and a tenth of the queries, are lost as well.
    """
    queries, _ = sizes(name)
    clean = np.mean([highest(s) for s in runs(name)])
    found = np.mean([truth(t) for s in troubled(name) if (t := best(s.trials)) is not None])
    assert found >= clean - NOISE * math.sqrt(2 * math.log(queries))


# --- the laws of ask and tell ---------------------------------------------------------------------------------------


def test_every_strategy_of_a_recipe_keeps_the_laws() -> None:
    check_strategies([strategy(name) for name in cover.strategies()])


@pytest.mark.parametrize("name", cover.SPECIAL)
def test_those_for_one_kind_of_space_are_checked_where_they_are_tested(name: str) -> None:
    label = type(recipes.load(name)[1]().strategy).__name__
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_strategies_*.py")]
    assert any(f"check_strategy({label}" in text or (label in text and "check_strategy(part" in text) for text in texts)
