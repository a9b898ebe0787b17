"""Evolution by dominance: survival against brute force, the early exit's law, individuals measured again."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from mimar import space
from mimar.core.streams import Draws
from mimar.evaluators.table import Table
from mimar.objectives import Best, Potential, Vector, dominates, hypervolume, limit
from mimar.schedulers import Asynchronous
from mimar.search.session import Session, Terms
from mimar.space import Choice, Space
from mimar.strategies import Cross, Measurement, Mutate, Proposal, Random, Trial
from mimar.strategies.nondominated import NonDominated, NonDominatedSearcher
from mimar.strategies.variation import Inversion
from mimar.testing import check_strategy

CELLS = space.nasbench201()
WIDTHS = Space([Choice(f"width{i}", (1, 2, 4)) for i in range(3)])  # 27 networks


def trial(proposal: Proposal, *values: float, status: Any = "ok") -> Trial:
    metrics = {"valid_accuracy": values[0]} if values else {}
    return Trial(proposal, Measurement(metrics, 1.0, status), values)


def tell(searcher: NonDominatedSearcher, n: int, draws: Draws, objectives: int = 2) -> dict[Any, tuple[float, ...]]:
    """Ask n times and tell random values; return them by architecture."""
    found = {}
    for _ in range(n):
        (proposal,) = searcher.ask(1)
        found[proposal.architecture] = tuple(draws.uniforms(objectives))
        searcher.tell([trial(proposal, *found[proposal.architecture])])
    return found


def brute(values: list[tuple[float, ...]], most: int) -> set[int]:
    """The survivors: fronts peeled one by one, the last one cut by crowding as Deb et al. write it."""
    left, kept = list(range(len(values))), []
    while left:
        best = [i for i in left if not any(dominates(values[j], values[i]) for j in left)]
        left = [i for i in left if i not in best]
        if len(kept) + len(best) > most:
            apart = dict.fromkeys(best, 0.0)
            for m in range(len(values[0])):
                ranked = sorted(best, key=lambda i: values[i][m])
                apart[ranked[0]] = apart[ranked[-1]] = math.inf
                width = values[ranked[-1]][m] - values[ranked[0]][m]
                for below, i, above in zip(ranked, ranked[1:], ranked[2:], strict=False):
                    apart[i] += (values[above][m] - values[below][m]) / width
            return {*kept, *sorted(best, key=lambda i: -apart[i])[: most - len(kept)]}
        kept += best
    return set(kept)


@pytest.mark.parametrize(
    "part",
    [
        NonDominated(population=4),
        NonDominated(population=4, again=True),
        NonDominated(population=4, parents=2, children=3, beyond="drop", variation=Inversion(Cross(), rate=0.5)),
    ],
    ids=["plain", "again", "inversion"],
)
def test_it_obeys_the_kit(part: NonDominated) -> None:
    check_strategy(part)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_survivors_are_those_of_brute_force(objectives: int) -> None:
    draws = Draws(objectives, "survival")
    searcher = NonDominated(population=30, parents=17, children=40).start(CELLS, 0)
    told = tell(searcher, 30, draws, objectives)
    for _ in range(5):
        (first,) = searcher.ask(1)  # the generation begins
        archs, values = list(told), list(told.values())
        assert {k.architecture for k in searcher.parents} == {archs[i] for i in brute(values, 17)}
        told = {k.architecture: k.values for k in searcher.parents}
        told[first.architecture] = tuple(draws.uniforms(objectives))
        searcher.tell([trial(first, *told[first.architecture])])
        told |= tell(searcher, 39, draws, objectives)


def test_generations_have_the_sizes_that_were_asked_for() -> None:
    searcher, draws = NonDominated(population=8, parents=3, children=5).start(CELLS, 0), Draws(0, "sizes")
    proposals = []
    for _ in range(18):
        (proposal,) = searcher.ask(1)
        proposals.append(proposal)
        searcher.tell([trial(proposal, *draws.uniforms(2))])
    assert [p.parent is None for p in proposals] == [True] * 8 + [False] * 10
    assert len(searcher.parents) == 3 and len(searcher.born) == 5


def test_nothing_is_asked_for_twice_while_there_is_something_else() -> None:
    searcher = NonDominated(population=10).start(CELLS, 0)
    assert len(tell(searcher, 200, Draws(0, "twice"))) == 200
    few = NonDominated(population=5).start(Space([Choice("only", ("one", "two"))]), 0)
    assert len(tell(few, 20, Draws(0, "twice"))) == 2


def test_the_best_of_one_objective_stays() -> None:
    searcher = NonDominated(population=6).start(CELLS, 0)
    told = tell(searcher, 60, Draws(1, "one"), objectives=1)
    searcher.ask(1)
    best = sorted(told.values(), reverse=True)[:6]
    assert sorted((k.values for k in searcher.parents), reverse=True) == best


def test_tournaments_favour_the_front() -> None:
    """With two in a tournament of four, ranked 0 to 3, the best is a parent with probability 1 − (3/4)² = 7/16."""
    first = NonDominated(population=4, children=400, variation=Mutate()).start(space.darts(), 0)
    told = {}
    for worth, proposal in enumerate(first.ask(4)):
        told[proposal.architecture.digest] = worth
        first.tell([trial(proposal, float(worth), float(worth))])
    born = Counter(told[str(p.parent)] for p in first.ask(400))
    wanted = [400 * ((k + 1) ** 2 - k**2) / 16 for k in range(4)]
    assert chisquare([born[k] for k in range(4)], wanted).pvalue > 1e-3


def product_of(arch: Any) -> float:
    return float(math.prod(arch.values()))


def table() -> Table:
    figures = [sum(a.values()) / 12 for a in WIDTHS.enumerate()]
    costs = [product_of(a) for a in WIDTHS.enumerate()]
    return Table.from_arrays(WIDTHS, {"valid_accuracy": figures}, known={"params": costs})


def session(part: Any, seed: int, *limits: str, queries: int = 12, objective: Any = None) -> Session:
    terms = Terms(table(), objective or Best(), tuple(map(limit, limits)), queries=queries, seed=seed)
    return Session(terms, part.start(WIDTHS, seed), Asynchronous().start((), seed))


def test_beginners_follow_the_uniform_law_below_the_cap() -> None:
    """The early exit is rejection sampling: the third beginner of 3,000 searches against 1/n for the n networks allowed."""
    allowed = [a for a in WIDTHS.enumerate() if product_of(a) <= 8]
    counts: Counter[Any] = Counter()
    rows, capped, part = table(), limit("params<=8"), NonDominated(population=4, beyond="drop")
    for seed in range(3000):
        terms = Terms(rows, Best(), (capped,), queries=3, seed=seed)
        run = Session(terms, part.start(WIDTHS, seed), Asynchronous().start((), seed))
        third = [run.step() for _ in range(3)][2]
        assert third is not None
        counts[third.architecture] += 1
    assert set(counts) == set(allowed)
    assert chisquare([counts[a] for a in allowed]).pvalue > 1e-3


def test_what_is_beyond_the_cap_is_never_measured() -> None:
    run = session(NonDominated(population=4, parents=2, children=6, beyond="drop"), 0, "params<=8", queries=40)
    while run.step() is not None:
        pass
    assert all(product_of(t.architecture) <= 8 for t in run.trials)
    assert run.ledger.infeasible > 0
    assert sum(t.proposal.parent is None for t in run.trials) == 4  # whoever was too large was drawn again


@pytest.mark.parametrize("beyond", ["redraw", "drop"])
def test_children_beyond_the_cap_are_made_anew_or_lost(beyond: Any) -> None:
    searcher = NonDominated(population=4, children=6, beyond=beyond).start(CELLS, 0)
    draws, generations, asked = Draws(0, "cap"), [], 0
    tell(searcher, 4, draws)
    for number in range(60):
        before = searcher.parents
        (child,) = searcher.ask(1)
        if searcher.parents is not before:
            generations.append(asked)
            asked = 0
        asked += 1
        over = number % 3 == 0
        searcher.tell([trial(child, status="infeasible") if over else trial(child, *draws.uniforms(2))])
    # two of six, or one after each two that are kept: nine for six
    assert set(generations[1:]) == ({9} if beyond == "redraw" else {6})


def test_parents_are_measured_again_before_their_children() -> None:
    searcher, draws = NonDominated(population=3, children=2, again=True).start(CELLS, 0), Draws(2, "again")
    tell(searcher, 3, draws)
    asked = []
    for _ in range(5):
        (proposal,) = searcher.ask(1)
        asked.append(proposal)
        searcher.tell([trial(proposal, *draws.uniforms(2))])
    assert [dict(p.meta) for p in asked] == [{"again": True}] * 3 + [{}] * 2
    assert {p.architecture for p in asked[:3]} == {k.architecture for k in searcher.parents}
    assert len(searcher.parents) == 3 and len(searcher.born) == 2


def test_a_second_measurement_replaces_the_first() -> None:
    searcher = NonDominated(population=2, again=True).start(CELLS, 0)
    tell(searcher, 2, Draws(3, "second"))
    (again,) = searcher.ask(1)
    searcher.tell([trial(again, 0.9, 0.8)])
    assert [k.values for k in searcher.parents if k.architecture == again.architecture] == [(0.9, 0.8)]
    searcher.tell([trial(again, status="failed")])
    assert len(searcher.parents) == 2


class Curves:
    """Fifty arms; the t-th pull of arm k gives top_k (1 − exp(−t / pace_k)) and noise."""

    def __init__(self, seed: int) -> None:
        draws = Draws(seed, "arms")
        self.arms = [(0.6 + 0.35 * draws.uniform(), 1 + 9 * draws.uniform()) for _ in range(50)]
        self.noise = Draws(seed, "noise").numpy()
        self.pulls: Counter[int] = Counter()
        self.best = {str(k) for k in sorted(range(50), key=lambda k: -self.arms[k][0])[:3]}

    def pull(self, arm: str) -> float:
        self.pulls[int(arm)] += 1
        top, pace = self.arms[int(arm)]
        return float(top * (1 - math.exp(-self.pulls[int(arm)] / pace)) + 0.02 * self.noise.standard_normal())


def pulls_until_found(objective: Any, seed: int, most: int = 1500) -> int:
    """The pulls until one of the three best arms has the best last value."""
    arms, curves, history, latest = Space([Choice("arm", tuple(map(str, range(50))))]), Curves(seed), [], {}
    searcher = NonDominated(population=8, again=True).start(arms, seed)
    for number in range(1, most + 1):
        (proposal,) = searcher.ask(1)
        arm = proposal.architecture["arm"]
        latest[arm] = curves.pull(arm)
        plain = Trial(proposal, Measurement({"valid_accuracy": latest[arm]}))
        history.append(Trial(proposal, plain.result, objective.values(plain, {"valid_accuracy": 1}, history)))
        searcher.tell(history[-1:])
        if number > 16 and max(latest, key=latest.__getitem__) in curves.best:
            return number
    return most


def test_what_still_improves_is_found_sooner_by_its_potential() -> None:
    """The claim of the catalogue, on 20 simulated bandits."""
    potential = [pulls_until_found(Potential(), seed) for seed in range(20)]
    accuracy = [pulls_until_found(Best(), seed) for seed in range(20)]
    assert np.mean(potential) < 0.8 * np.mean(accuracy)


def test_the_front_is_found_sooner_than_at_random() -> None:
    """Six places of weights that add to a value and to a cost: the front is a ridge that random search touches rarely."""
    ridge = Space([Choice(f"c{i}", (0, 1, 2, 3)) for i in range(6)])
    archs = list(ridge.enumerate())
    gains, prices = ([3.0, 2.0, 1.5, 1.0, 0.7, 0.3], [2.0, 1.0, 1.2, 0.4, 0.9, 0.5])
    value = {a: sum(g * math.sqrt(a[f"c{i}"]) for i, g in enumerate(gains)) for a in archs}
    cost = {a: sum(p * a[f"c{i}"] for i, p in enumerate(prices)) for a in archs}
    rows = Table.from_arrays(
        ridge, {"valid_accuracy": [value[a] for a in archs]}, known={"macs": [cost[a] for a in archs]}
    )

    def volume(part: Any, seed: int) -> float:
        terms = Terms(rows, Vector(("valid_accuracy", "macs")), queries=150, seed=seed)
        run = Session(terms, part.start(ridge, seed), Asynchronous().start((), seed))
        while run.step() is not None:
            pass
        return hypervolume([t.values for t in run.trials], (0.0, -20.0))

    part = NonDominated(population=20, variation=Cross(rate=0.9, mutation=0.1))
    pairs = [(volume(part, seed), volume(Random(), seed)) for seed in range(6)]
    assert all(ours > theirs for ours, theirs in pairs)


def test_every_combination_starts() -> None:
    for parents, children, again in product((None, 2), (None, 3), (False, True)):
        searcher = NonDominated(population=4, parents=parents, children=children, again=again).start(CELLS, 0)
        assert len(tell(searcher, 25, Draws(0, "all"))) >= 10
