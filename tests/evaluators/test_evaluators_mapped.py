"""An evaluator behind another space says of an architecture what it says of the one that this stands for."""

from __future__ import annotations

import pytest

from mimar.core.streams import Draws
from mimar.evaluators.mapped import Mapped
from mimar.evaluators.table import Table
from mimar.objectives import Best
from mimar.schedulers import Asynchronous
from mimar.search.session import Session, Terms
from mimar.space import Choice, Proposal, Space
from mimar.space.transforms import Grow, Poison, Product, Prune
from mimar.strategies import Evolution


def table() -> Table:
    space = Space([Choice("a", ("none", "x", "y")), Choice("b", ("none", "x"))])
    good = [0.1 * i for i in range(6)]
    return Table.from_arrays(
        space,
        {"valid_accuracy": [good, [g + 1 for g in good]]},
        final={"test_accuracy": [g - 0.5 for g in good]},
        known={"params": [float(i) for i in range(6)]},
        seconds=[[1.0] * 6, [2.0] * 6],
        fidelities=(1, 2),
    )


@pytest.mark.parametrize("transform", [Prune((("a", "x"),)), Grow(1), Poison("none", 3)], ids=repr)
def test_it_measures_what_an_architecture_stands_for(transform: object) -> None:
    clean = table()
    image = transform(clean.space)  # type: ignore[operator]
    there = Mapped.of(clean, image)
    for arch in image.space.enumerate():
        back = image.back(arch)
        for fidelity in (None, 1.0, 2.0):
            ours = there.evaluate(Proposal(arch), fidelity, Draws(0, "test"))
            assert ours == clean.evaluate(Proposal(back), fidelity, Draws(0, "test"))
            assert there.evaluate(Proposal(arch, fidelity)) == clean.evaluate(Proposal(back, fidelity))
        assert there.costs(arch) == clean.costs(back)
        assert there.verdict(arch) == clean.verdict(back)
    assert there.measures == clean.measures and there.fidelities == (1.0, 2.0) and there.unit == "s"
    assert there.resumes is clean.resumes and there.prepare(0) == 0.0 and there.digest() == clean.digest()


def test_one_factor_of_a_product_is_measured() -> None:
    clean = table()
    product = Product((("net", clean.space), ("hp", Space([Choice("lr", ("low", "high"))]))))
    there = Mapped(clean, product.space, product.only("net"))
    for arch in product.space.enumerate():
        assert there.evaluate(Proposal(arch)) == clean.evaluate(Proposal(product.split(arch)["net"]))


def test_a_search_runs_in_the_transformed_space() -> None:
    there = Mapped.of(table(), Poison("none", 2)(table().space))
    session = Session(
        Terms(there, Best(), queries=30), Evolution(5, 2).start(there.space, 0), Asynchronous().start((), 0)
    )
    while session.step() is not None:
        pass
    assert any("#" in v for t in session.trials for v in t.architecture.values())
    assert all(t.result.status == "ok" for t in session.trials)
