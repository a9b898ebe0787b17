"""A product of a metric and a cost: its identities, and a target out of random architectures where none is given."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import pytest

from mimar.core.errors import UsageError
from mimar.core.streams import Draws
from mimar.objectives import Best, WeightedProduct, settled
from mimar.search import Trials
from mimar.space import Architecture, Measurement, Proposal, Trial, nasbench201

SPACE, SIGNS = nasbench201(), {"accuracy": 1, "macs": -1}


def costs(architecture: Architecture) -> Mapping[str, float]:
    return {"macs": 1.0 + sum(10.0 if "3x3" in value else 1.0 for value in architecture.values())}


def value(part: WeightedProduct, accuracy: float, macs: float) -> float:
    trial = Trial(Proposal(Architecture({})), Measurement({"accuracy": accuracy, "macs": macs}))
    (found,) = part.values(trial, SIGNS, ())
    return found


def test_twice_the_cost_pays_for_a_twentieth_of_accuracy() -> None:
    soft = WeightedProduct("macs", 100.0)
    assert value(soft, 0.8, 100.0) == 0.8
    assert (
        value(soft, 0.8, 200.0) / value(soft, 0.8, 100.0) == pytest.approx(2**-0.07) == pytest.approx(0.953, abs=5e-4)
    )


def test_the_hard_form_is_flat_within_the_target() -> None:
    hard = WeightedProduct("macs", 100.0, below=0.0, above=-1.0)
    assert value(hard, 0.8, 1.0) == value(hard, 0.8, 100.0) == 0.8
    assert value(hard, 0.8, 200.0) == pytest.approx(0.4)


def test_without_a_target_it_is_the_median_of_random_architectures() -> None:
    part = settled(WeightedProduct("macs"), SPACE, costs)
    draws = Draws(0, "target")
    assert part == WeightedProduct("macs", statistics.median(costs(SPACE.sample(draws))["macs"] for _ in range(25)))
    assert settled(part, SPACE, costs) is part and settled(Best(), SPACE, costs) == Best()
    with pytest.raises(UsageError, match="settled"):
        value(WeightedProduct("macs"), 0.8, 1.0)
    with pytest.raises(UsageError, match="macs"):
        settled(WeightedProduct("mac"), SPACE, costs)


def test_rows_that_a_table_lacks_do_not_count() -> None:
    seen = []

    def holes(architecture: Architecture) -> Mapping[str, float]:
        seen.append(architecture)
        return {} if len(seen) % 2 else costs(architecture)

    part = settled(WeightedProduct("macs"), SPACE, holes)
    assert isinstance(part, WeightedProduct) and part.target is not None
    with pytest.raises(UsageError):
        settled(WeightedProduct("macs"), SPACE, lambda a: {})


def test_a_protocol_takes_a_recipes_objective_where_none_is_asked_for() -> None:
    part = WeightedProduct("macs", 3.0)
    assert Trials().towards(part).objective == part
    assert Trials(workers=3).towards(part).workers == 3
    asked = Trials(objective=("valid_accuracy", "params"))
    assert asked.towards(part) == asked
