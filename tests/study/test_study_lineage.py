"""Lines of descent: a family of six by hand, caches by hand, and the figures of the catalogue on the real table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.space import Architecture, Measurement, Proposal, Trial
from mimar.strategies import Evolution
from mimar.study import lineage

NETS = {name: Architecture({"a": name, "b": 1}) for name in "ABCDE"}
DIGESTS = {name: arch.digest for name, arch in NETS.items()}


def log(*pairs: str) -> list[Trial]:
    """Trials written as "child" or "child<donor"."""
    made = []
    for number, pair in enumerate(pairs):
        child, _, donor = pair.partition("<")
        proposal = Proposal(NETS[child], None, DIGESTS[donor] if donor else None)
        made.append(Trial(proposal, Measurement({"valid_accuracy": 0.5}), (0.5,), number))
    return made


FAMILY = log("A", "B", "C<A", "D<C", "E<A", "C<D")  # six trials of five networks


def test_a_family_by_hand() -> None:
    assert lineage.depths(FAMILY) == [0, 0, 1, 2, 1, 3]
    assert lineage.donors(FAMILY) == Counter({DIGESTS["A"]: 2, DIGESTS["C"]: 1, DIGESTS["D"]: 1})
    assert lineage.concentration(FAMILY, top=1) == 0.5
    assert lineage.concentration(FAMILY) == 1.0
    assert lineage.repeated(FAMILY) == pytest.approx(1 / 6)  # C a second time
    assert lineage.concentration(log("A", "B")) == 0.0


def test_donors_rise_and_fall_in_a_window() -> None:
    found = list(lineage.popularity(FAMILY, window=3))
    names = {digest: name for name, digest in DIGESTS.items()}
    assert [{names[d]: n for d, n in counts.items()} for counts in found] == [
        {},
        {},
        {"A": 1},
        {"A": 1, "C": 1},
        {"A": 2, "C": 1},
        {"A": 1, "C": 1, "D": 1},
    ]
    with pytest.raises(UsageError, match="window"):
        list(lineage.popularity(FAMILY, window=0))


def test_donors_that_are_not_in_the_log_count_as_founders() -> None:
    assert lineage.depths(log("B<A", "C<B")) == [1, 2]


def test_prefixes_by_hand() -> None:
    order = ("x", "y", "z", "w")
    one = {"x": 1, "y": 2, "z": 3}
    assert lineage.common_prefix(one, {"x": 1, "y": 2, "z": 4}, order) == 2
    assert lineage.common_prefix(one, {"x": 1, "z": 3}, order) == 1  # y is decided in one of them
    assert lineage.common_prefix(one, one, order) == 3
    assert lineage.prefixes(FAMILY, ("b", "a")) == [1, 1, 1, 1]
    assert lineage.prefixes(FAMILY, ("a", "b")) == [0, 0, 0, 0]


def test_caches_by_hand() -> None:
    trials = log("A", "B", "A", "C", "B", "A")
    assert lineage.hit_rate(trials, 3) == pytest.approx(3 / 6)  # A, B, A
    assert lineage.hit_rate(trials, 2) == pytest.approx(1 / 6)  # C drops B, B drops A
    assert lineage.hit_rate(trials, 1) == 0.0
    family = log("A", "B", "C<A", "D<A", "E<A", "B<E")
    # two places: D drops C where the least used goes first, then E drops A; keeping donors, A stays
    assert lineage.hit_rate(family, 2, of="weights") == pytest.approx(4 / 4)
    assert lineage.hit_rate(log("A", "B<A", "C", "D", "E<A"), 2, of="weights") == pytest.approx(1 / 2)
    assert lineage.hit_rate(log("A", "B<A", "C", "D", "E<A"), 2, of="weights", keep="donors") == 1.0
    assert lineage.hit_rate(log("A", "B"), 2, of="weights") == 0.0
    with pytest.raises(UsageError, match="at least one"):
        lineage.hit_rate(trials, 0)


def evolved(table: object, population: int, sample: int, seed: int) -> list[Trial]:
    searcher, trials = Evolution(population=population, sample=sample).start(table.space, seed), []  # type: ignore[attr-defined]
    for number in range(1000):
        (proposal,) = searcher.ask(1)
        result = table.evaluate(proposal)  # type: ignore[attr-defined]
        trials.append(Trial(proposal, result, (result.metrics["valid_accuracy"],), number))
        searcher.tell(trials[-1:])
    return trials


@pytest.mark.parametrize(("population", "sample", "wanted"), [(10, 3, (0.25, 0.12, 371)), (100, 10, (0.54, 0.61, 91))])
def test_the_figures_of_the_catalogue(
    needs_data: Callable[[str], Path], population: int, sample: int, wanted: tuple[float, float, int]
) -> None:
    """Repeated evaluations, births by the ten best donors, number of donors; 20 seeds there, six here."""
    from mimar.evaluators import benchmarks

    needs_data("nas/nasbench201.npz")
    table = benchmarks.named("nasbench201:epochs=200")
    runs = [evolved(table, population, sample, seed) for seed in range(6)]
    found = [(lineage.repeated(r), lineage.concentration(r), len(lineage.donors(r))) for r in runs]
    for mine, theirs, tolerance in zip(np.mean(found, axis=0), wanted, (0.04, 0.05, 25), strict=True):
        assert abs(mine - theirs) < tolerance
