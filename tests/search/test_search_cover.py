"""Every strategy wherever a search may take place: a pairwise cover of the product that `mimar.study.cover` runs as a whole."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from mimar import recipes
from mimar.core.describe import describe
from mimar.core.errors import DataError, UsageError
from mimar.search import AskTell, Trials
from mimar.search.ground import Known
from mimar.search.lab import Lab
from mimar.space import Trial
from mimar.study import cover
from mimar.study.cover import AIMS, LIMITS, SCHEDULERS, WHERE, Case, Outcome

FACTORS = {"strategy": cover.strategies(), "where": WHERE, "scheduler": SCHEDULERS, "aim": AIMS}
# Recipes that are no column of the product, and one that is only with something given: why, and what they say on the table.
LACKING = {
    "diswot": ("it always scores untrained networks, of which the table has none", "a table of figures alone"),
    "robot": ("it needs scores of networks; the product gives it made-up ones", "a table of figures alone"),
    "eas": ("it grows chains, and no space here has one", cover.SPECIAL["eas"]),
}
Pair = tuple[tuple[str, str], tuple[str, str]]


def pairs(case: Case) -> frozenset[Pair]:
    """Return the pairs of levels that a case has."""
    return _pairs(case)


@functools.cache
def _pairs(case: Case) -> frozenset[Pair]:
    return frozenset(combinations(zip(Case._fields, case, strict=True), 2))


def every_pair() -> set[Pair]:
    """Return all pairs of levels of two factors."""
    return {((a, one), (b, two)) for a, b in combinations(FACTORS, 2) for one, two in product(FACTORS[a], FACTORS[b])}


@functools.cache
def covering() -> tuple[Case, ...]:
    """Return cases that have every pair, greedily; of equals one that is not serial."""
    left, chosen, cases = every_pair(), [], list(cover.product_of_all())
    while left:
        chosen.append(max(cases, key=lambda case: (len(pairs(case) & left), case.scheduler != "serial")))
        left -= pairs(chosen[-1])
    return tuple(chosen)


@functools.cache
def outcome(case: Case) -> Outcome:
    return cover.run(case)


# --- what is covered ------------------------------------------------------------------------------------------------


def test_at_most_150_cases_have_every_pair() -> None:
    cases = covering()
    assert len(cases) == len(set(cases)) <= 150
    assert set().union(*map(pairs, cases)) == every_pair()


def test_every_recipe_that_asks_and_tells_is_a_column_or_has_a_reason() -> None:
    names = [n + (f":{v}" if v else "") for n in recipes.names() for v in ("", *recipes.variants(n))]
    asking = {n for n in names if isinstance(recipes.load(n)[1](), AskTell)}
    assert asking == set(cover.strategies()) | set(LACKING) and set(cover.SPECIAL) <= set(LACKING)
    covered = [describe(recipes.load(n)[1]().strategy) for n in cover.strategies()]
    assert describe(recipes.load("diswot")[1]().strategy) in covered  # by another recipe
    takes = {n for n in names if "trials" in inspect.signature(recipes.load(n)[1]).parameters}
    assert takes == asking  # the others, which train shared weights or prune, have no trials to speak of


@pytest.mark.parametrize("name", LACKING)
def test_what_a_strategy_lacks_is_said(name: str) -> None:
    build, sentence = recipes.load(name)[1], LACKING[name][1]
    with pytest.raises(UsageError, match=sentence):
        if name in cover.SPECIAL:
            build().strategy.start(cover.table().space, 0)
        else:
            build(task=cover.table(), queries=20, baseline=0, trials=Trials()).session()


def test_limits_cut_the_spaces_in_half() -> None:
    """Of the net: 108 parameters beside the choices, 156 of a convolution 3 × 3 with its batch norm, 28 of one 1 × 1."""
    table, lab = cover.table(), Lab(cover.net(), cover.task(), 0, "cpu")
    counted = {
        a: 108.0 + sum({"3": 156, "1": 28, "skip": 0}[str(o)] for o in a.values()) for a in lab.space.enumerate()
    }
    known = Known(lab)
    assert all(known(a)["params"] == counted[a] for a in list(counted)[::27])
    rows = [table.costs(a)["params"] for a in table.space.enumerate()]
    for name, params in (("table", rows), ("net", list(counted.values()))):
        assert 0.4 <= sum(p <= LIMITS[name] for p in params) / len(params) <= 0.6, name


# --- what every case keeps ------------------------------------------------------------------------------------------


def plain(architecture: Any) -> Any:
    """Return an architecture as JSON has it."""
    return json.loads(json.dumps(dict(architecture)))


def better(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Tell whether a dominates b."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b


def top(trials: list[Trial]) -> list[Trial]:
    """Return the trials at the highest fidelity there is."""
    highest = max((t.proposal.fidelity or 0.0) for t in trials)
    return [t for t in trials if (t.proposal.fidelity or 0.0) == highest]


def charged(case: Case, trials: list[Trial], found: dict[str, Any]) -> None:
    """Queries are spent to the last and the ledger is the sum of the trials."""
    ledger = found["ledger"]
    queries = cover.TRAINED if case.where == "train" else cover.QUERIES
    assert sorted(t.number for t in trials) == list(range(queries)) and ledger["queries"] == queries
    assert ledger["cost"] == pytest.approx(ledger["prepared"] + sum(t.result.cost for t in trials), rel=1e-12)
    assert (ledger["prepared"] > 0) == (case.where == "shared")
    assert ledger["failed"] == sum(t.result.status != "ok" for t in trials) and ledger["lost"] == 0
    keys = [(t.architecture, t.proposal.fidelity) for t in sorted(trials, key=lambda t: t.number)]
    assert ledger["repeated"] == sum(key in keys[:i] for i, key in enumerate(keys)) == sum(t.repeated for t in trials)
    assert ledger["clock"] == max(t.ended for t in trials)
    assert all(t.ended >= t.begun + t.result.cost * (1 - 1e-9) for t in trials)
    ends = [t.ended for t in trials]
    assert ends == sorted(ends)
    at_once = max(sum(t.begun <= moment < t.ended for t in trials) for moment in [t.begun for t in trials])
    assert at_once <= SCHEDULERS[case.scheduler][1]


def limited(case: Case, trials: list[Trial], found: dict[str, Any]) -> None:
    """No measured trial breaks the limit; without one, some would."""
    limit = LIMITS["table" if case.where == "table" else "net"]
    broken = [t for t in trials if t.result.metrics["params"] > limit]
    assert not broken if case.aim == "constrained" else found["ledger"]["infeasible"] == 0


def answered(case: Case, trials: list[Trial], found: dict[str, Any]) -> None:
    """The answer is the best of what was told, or, of several objectives, the front is what nothing dominates."""
    primary = "synflow" if case.where == "proxy" else "valid_accuracy"
    for t in trials:
        params = (-t.result.metrics["params"],) if case.aim == "pareto" else ()
        assert t.values == (t.result.metrics[primary], *params)
    last = top(trials)
    best = min(last, key=lambda t: ([-v for v in t.values], t.number))
    assert plain(found["architecture"]) == plain(best.architecture)
    assert found["incumbents"][-1][2:] == [list(best.values), best.number]
    free = [t for t in last if not any(better(o.values, t.values) for o in last)]
    assert ("front" in found) == (case.aim == "pareto")
    if "front" in found:
        told = [(json.dumps(f["architecture"], sort_keys=True), f["values"]) for f in found["front"]]
        expected = {json.dumps(plain(t.architecture), sort_keys=True): list(t.values) for t in free}
        assert len(told) == len(expected) and dict(told) == expected


def climbed(case: Case, trials: list[Trial], found: dict[str, Any]) -> None:
    """Who goes on was measured one rung below and was then among the best third there; others begin at the lowest."""
    levels = sorted({t.proposal.fidelity or 0.0 for t in trials})
    assert (len(levels) > 1) == (case.scheduler == "asha")
    for t in trials:
        if case.scheduler != "asha":
            assert t.since is None and t.proposal.fidelity is None
        elif t.since is None:
            assert t.proposal.fidelity == levels[0]
        else:
            assert t.since == levels[levels.index(t.proposal.fidelity or 0.0) - 1]
            there = [o for o in trials if o.proposal.fidelity == t.since and o.ended <= t.begun]
            origins = [o.values for o in there if o.architecture == t.architecture]
            assert origins and len(there) >= 3
            if case.aim != "pareto":
                assert max(origins) >= sorted(o.values for o in there)[-(len(there) // 3)]


LAWS: tuple[Callable[[Case, list[Trial], dict[str, Any]], None], ...] = (charged, limited, answered, climbed)


@pytest.mark.parametrize("case", covering(), ids="-".join)
def test_it_runs_and_keeps_the_laws(case: Case) -> None:
    for law in LAWS:
        law(case, *outcome(case))


@pytest.mark.parametrize("name", cover.strategies())
def test_the_same_again_gives_the_same_trials(name: str) -> None:
    case = next(c for c in covering() if c.strategy == name and c.where == "table")
    again = cover.run(case)
    assert [t.to_json() for t in again.trials] == [t.to_json() for t in outcome(case).trials]
    assert again.found == outcome(case).found


# --- the laws have teeth --------------------------------------------------------------------------------------------


def spoiled(trials: list[Trial], found: dict[str, Any]) -> Iterator[tuple[str, list[Trial], dict[str, Any]]]:
    """Yield outcomes with one error each, and the law that must see it."""
    ledger = found["ledger"]
    worst = min(top(trials), key=lambda t: t.values)
    heavy = dataclasses.replace(trials[0].result, metrics={**trials[0].result.metrics, "params": 1e9})
    yield "charged", trials[1:], found
    yield "charged", trials, {**found, "ledger": {**ledger, "cost": ledger["cost"] + 1.0}}
    yield "charged", trials, {**found, "ledger": {**ledger, "repeated": ledger["repeated"] + 1}}
    yield "limited", [dataclasses.replace(trials[0], result=heavy), *trials[1:]], found
    yield "answered", trials, {**found, "architecture": dict(worst.architecture)}
    yield "climbed", [dataclasses.replace(trials[0], since=1.0), *trials[1:]], found


def test_planted_errors_are_seen() -> None:
    case = Case("random", "table", "asynchronous", "constrained")
    for name, trials, found in spoiled(*cover.run(case)):
        law = next(law for law in LAWS if law.__name__ == name)
        with pytest.raises(AssertionError):
            law(case, trials, found)
    case = Case("random", "table", "serial", "pareto")
    trials, found = cover.run(case)
    for front in (found["front"][1:], [*found["front"], {"architecture": {"op": "x"}, "values": [0.0, 0.0]}]):
        with pytest.raises(AssertionError):
            answered(case, trials, {**found, "front": front})


def test_the_whole_product_is_written_as_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cover, "strategies", lambda: ("random",))
    monkeypatch.setattr(cover, "WHERE", {"table": "", "shared": WHERE["shared"]})
    monkeypatch.setattr(cover, "AIMS", ("scalar",))
    cover.main(str(tmp_path / "cover.csv"))
    lines = [line.split(",")[:6] for line in (tmp_path / "cover.csv").read_text().splitlines()]
    assert len(lines) == 1 + 6
    assert [line[4] for line in lines[1:]] == ["ran"] * 6
    assert lines[1][5] == "20"

    def broken(case: Case) -> None:
        raise DataError("made up")

    monkeypatch.setattr(cover, "run", broken)
    with pytest.raises(SystemExit, match="the first that failed: .*made up"):
        cover.main(str(tmp_path / "cover.csv"))
