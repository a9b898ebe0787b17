"""One decision: what its fields may be, which values it takes, where they lie between 0 and 1."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from mimar.core.errors import SpaceError
from mimar.space import Choice


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"options": ()}, "has no options"),
        ({"options": ("a", "a")}, "'a' twice"),
        ({"options": "abc"}, "must be a tuple"),
        ({"options": ("a", "b"), "kind": "ones"}, "did you mean 'one'"),
        ({"options": ("a", "b"), "kind": "some", "k": 3}, "between 1 and 2"),
        ({"options": ("a", "b"), "k": 2}, "cannot take k=2"),
        ({"options": (3, 1), "kind": "size"}, "increasing"),
        ({"options": (1.0, 2.0), "kind": "size"}, "needs integers"),
        ({"options": (2.0, 1.0), "kind": "value"}, "low < high"),
        ({"options": (0.0, 1.0), "kind": "value", "log": True}, "above zero"),
        ({"options": ("a", "b"), "prior": (1.0,)}, "1 prior multiplicities"),
        ({"options": ("a", "b"), "prior": (1.0, 0.0)}, "positive prior"),
        ({"options": ("a", "b"), "never": ("c",)}, "excludes 'c'"),
        ({"options": ("a", "b"), "never": ("a", "b")}, "excludes all"),
        ({"options": ("a", None)}, "None"),
    ],
)
def test_contradictions_are_one_sentence(fields: dict, text: str) -> None:
    with pytest.raises(SpaceError, match=text) as caught:
        Choice("x", **fields)
    assert "'x'" in str(caught.value)


def test_a_choice_needs_a_name() -> None:
    with pytest.raises(SpaceError, match="name"):
        Choice("", ("a", "b"))


@pytest.mark.parametrize(
    "choice",
    [
        Choice("a", ("x", "y", "z")),
        Choice("a", ("x", "y", "z"), never=("y",)),
        Choice("a", (1, 2, 5, 9), "size"),
        Choice("a", ("p", "q", "r", "s", "t"), "some", 3),
        Choice("a", ("p", "q", "r", "s"), "some", 2, never=("p",)),
    ],
)
def test_outcomes_and_their_places(choice: Choice) -> None:
    assert len(choice.outcomes) == choice.count == len(set(choice.outcomes))
    for i, value in enumerate(choice.outcomes):
        assert choice.problem(value) is None
        assert choice.unit(value) == (i + 0.5) / len(choice.outcomes)
        assert choice.at(choice.unit(value)) == value
    assert (choice.at(0.0), choice.at(1.0)) == (choice.outcomes[0], choice.outcomes[-1])


def test_very_many_combinations_are_not_listed() -> None:
    choice = Choice("a", tuple(range(60)), "some", 30)
    assert choice.count == math.comb(60, 30)
    value = choice.at(0.3)
    assert choice.problem(value) is None
    assert abs(choice.unit(value) - 0.3) < 1e-12


def test_value_range_linear_and_logarithmic() -> None:
    linear, log = Choice("lr", (1.0, 3.0), "value"), Choice("lr", (1e-4, 1.0), "value", log=True)
    assert linear.at(0.5) == 2.0
    assert log.at(0.5) == pytest.approx(1e-2)
    assert log.unit(1e-3) == pytest.approx(0.25)
    assert linear.count == math.inf
    assert linear.steps(2.0) == (pytest.approx(1.8), pytest.approx(2.2))
    assert linear.steps(1.0) == (pytest.approx(1.2),)
    assert "between 1.0 and 3.0" in (linear.problem(3.5) or "")
    assert linear.problem(float("nan")) is not None


def test_neighbouring_values() -> None:
    size = Choice("w", (8, 16, 32, 64), "size")
    assert [size.steps(w) for w in size.options] == [(16,), (8, 32), (16, 64), (32,)]
    assert Choice("o", ("a", "b", "c"), never=("c",)).steps("a") == ("b",)


def test_prior_weights_the_unit_interval() -> None:
    choice = Choice("a", ("x", "y", "z"), prior=(1, 2, 5))
    counts = Counter(choice.at((i + 0.5) / 800, prior=True) for i in range(800))
    assert counts == {"x": 100, "y": 200, "z": 500}
    pairs = Choice("a", ("x", "y", "z"), "some", 2, prior=(1, 2, 5))
    counts = Counter(pairs.at((i + 0.5) / 1700, prior=True) for i in range(1700))
    assert counts == {("x", "y"): 200, ("x", "z"): 500, ("y", "z"): 1000}


@pytest.mark.parametrize(
    ("choice", "value", "text"),
    [
        (Choice("a", ("conv3", "conv5")), "conv4", "did you mean 'conv"),
        (Choice("a", ("conv3", "none"), never=("none",)), "none", "supernet only"),
        (Choice("a", (1, 2), "size"), True, "unknown option"),
        (Choice("a", (1, 2), "size"), 1.0, "unknown option"),
        (Choice("a", ("0", "1", "2"), "some", 2), ("1", "0"), "in their order"),
        (Choice("a", ("0", "1", "2"), "some", 2), ("1", "1"), "2 different"),
        (Choice("a", ("0", "1", "2"), "some", 2), ("1",), "2 different"),
        (Choice("a", ("0", "1", "2"), "some", 2), "1", "takes a tuple"),
    ],
)
def test_wrong_values_are_explained(choice: Choice, value: object, text: str) -> None:
    assert text in (choice.problem(value) or "")


@pytest.mark.parametrize(
    "choice",
    [
        Choice("a", ("x", "y"), when=(("b", "u"), ("c", 3)), prior=(1.0, 2.0), never=("y",)),
        Choice("a", ("x", "y", "z"), "some", 2),
        Choice("a", (1e-3, 1.0), "value", log=True),
        Choice("a", (1, 2), "size"),
    ],
)
def test_json_round_trip(choice: Choice) -> None:
    assert Choice.from_json(choice.to_json()) == choice


def test_json_of_something_else() -> None:
    with pytest.raises(SpaceError, match="did you mean 'options'"):
        Choice.from_json({"name": "a", "option": ["x"]})
    with pytest.raises(SpaceError, match="needs the keys"):
        Choice.from_json({"name": "a"})
