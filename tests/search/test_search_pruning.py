"""Pruning at initialisation: ranks, ties, rounds, the supernet that is left, tables, resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from mimar import recipes
from mimar.core.errors import UsageError
from mimar.core.streams import isolated
from mimar.evaluators import Retrain
from mimar.evaluators.proxies.gradients import GradientNorm
from mimar.evaluators.proxies.patterns import LinearRegions
from mimar.evaluators.proxies.sizes import Operations, Parameters
from mimar.evaluators.proxies.tangent import TangentCondition
from mimar.search.pruning import LOST, Passed, Pruning, Remaining, harm, last, least, spare, without
from mimar.space import Choice, OneOf, SomeOf, Space, of
from mimar.supernet import Supernet, extract, reinitialised
from mimar.tasks.protocol import Batch
from mimar.testing import check_recipe
from mimar.testing.problems import tiny_batch, tiny_model
from mimar.testing.recipe import tiny_task


def test_harm_is_the_relative_change_for_the_worse() -> None:
    large, small = GradientNorm(), TangentCondition()
    assert harm(large, [4.0, 8.0], [3.0, 8.0]) == 0.12  # (0.25 + 0) / 2, to one part in 100
    assert harm(large, [-4.0], [-3.0]) == -0.25 and harm(small, [4.0], [3.0]) == -0.25
    assert harm(large, [4.0], [None]) == LOST and harm(large, [None], [None]) == 0.0 == harm(large, [None], [3.0])


def test_the_option_of_least_rank_sum_goes_from_every_choice() -> None:
    candidates = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("b", "z")]
    harms = [[0.1, 0.9], [0.2, 0.1], [0.1, 0.1], [-0.5, 0.9], [0.3, 0.0]]
    # ranks: first score -.5 < .1 < .2 < .3; second 0 < .1 < .9; sums a: 1+2, 2+1 (a tie), b: 1+1, 0+2 (a tie), 3+0
    assert least(candidates, harms) == [("a", "x"), ("b", "x")]


def test_what_can_be_spared() -> None:
    space = of(tiny_model())
    left: dict[str, list[Any]] = {"body": ["skip"], "node": ["0", "1", "2"]}
    assert spare(space, left) == [("node", "0"), ("node", "1"), ("node", "2")]
    left = without(left, [("node", "1")])
    assert spare(space, left) == [] and dict(last(space, left)) == {"body": "skip", "node": ("0", "2")}


def test_what_remains_is_the_even_mixture_of_what_is_left() -> None:
    model, (x, _) = tiny_model().eval(), tiny_batch()
    net = Supernet(model)
    gates = {"body": torch.tensor([0.5, 0.0, 0.5]), "node": torch.tensor([1.0, 0.0, 1.0])}
    gates = {n: g.double() for n, g in gates.items()}
    found = Remaining(model, {"body": ["conv", "skip"], "node": ["0", "2"]})(x)
    assert torch.allclose(found, net(x, gates))
    one = last(of(model), {"body": ["wide"], "node": ["0", "2"]})
    assert torch.allclose(Remaining(model, {"body": ["wide"], "node": ["0", "2"]})(x), extract(model, one)(x))


def test_a_model_drawn_anew_keeps_the_old_one() -> None:
    model = tiny_model()
    before = [p.clone() for p in model.parameters()]
    a, b, c = (reinitialised(model, seed) for seed in (1, 1, 2))
    same = [torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True)]
    other = [torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True)]
    assert all(same) and not all(other)
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


@dataclass(frozen=True)
class Worth:
    """A score that knows what every option is worth: the sum of what takes part."""

    direction: ClassVar[Any] = "max"

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        worth = {"conv": 3.0, "wide": 2.0, "skip": 1.0, "0": 1.0, "1": 2.0, "2": 3.0}
        return sum(worth[o] for here in net.left.values() for o in here)  # type: ignore[operator, union-attr]

    def passes(self, size: int) -> float:
        return 1.0


def search(**more: Any) -> Pruning:
    given: dict[str, Any] = {"net": tiny_model().float(), "task": tiny_task(), "baseline": 1, "batch": 4, "repeats": 1}
    return Pruning(**{"name": "pruning", "scores": (Worth(),), "retrain": Retrain(epochs=1, batch=16)} | given | more)


def test_the_least_worth_goes_first_until_one_network_is_left() -> None:
    events: list[Any] = []
    result = search().run(progress=lambda e: events.append(getattr(e, "data", {})))
    assert dict(result.architecture) == {"body": "conv", "node": ("1", "2")}
    removed = [e["removed"] for e in events if e.get("event") == "pruned"]
    assert removed == [[["body", "skip"], ["node", "0"]], [["body", "wide"]]]
    assert result.model is not None and result.baseline["random"]["n"] == 1


def test_costs_are_passes_of_the_supernet() -> None:
    one, two = (search(repeats=n).run().data["budget"]["search"] for n in (1, 2))
    assert one > 0 and two == 2 * one


def test_a_continuous_choice_has_no_options_to_remove() -> None:
    part = search()
    lab = part.lab()
    vars(lab)["space"] = Space([*lab.space.choices, Choice("rate", (0.1, 0.5), "value")])  # type: ignore[union-attr]
    object.__setattr__(part, "lab", lambda: lab)
    with pytest.raises(UsageError, match="continuous"):
        part.start()


def test_by_size_the_largest_network_is_left() -> None:
    with isolated(0):
        model = nn.Sequential(
            nn.Conv2d(1, 3, 1),
            OneOf({k: nn.Conv2d(3, 3, int(k), padding=int(k) // 2) for k in ("1", "3", "5")}, name="kernel"),
            SomeOf({"a": nn.Identity(), "b": nn.Conv2d(3, 3, 1), "c": nn.Conv2d(3, 3, 3, padding=1)}, k=1, name="some"),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(3, 4),
        )
    found = search(net=model, scores=(GradientNorm(), Parameters())).run().architecture
    assert set(found) == {"kernel", "some"} and len(found["some"]) == 1


def test_on_the_benchmark_the_answer_is_looked_up(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    result = search(net=None, task="nasbench201", baseline=5, scores=(NoneIsWorst(),), batch=2).run()
    assert set(result.architecture.values()) == {"nor_conv_3x3"} and result.model is None
    assert result.metrics["test_accuracy"] == pytest.approx(0.9376, abs=1e-4)
    assert result.baseline["random"]["n"] == 5 and 0.5 < result.baseline["random"]["mean"] < 0.95


@dataclass(frozen=True)
class NoneIsWorst:
    """A score that counts 3×3 convolutions most, then what comes before them in the list of options."""

    direction: ClassVar[Any] = "min"

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        worth = {"nor_conv_3x3": 16.0, "nor_conv_1x1": 8.0, "avg_pool_3x3": 4.0, "skip_connect": 2.0, "none": 1.0}
        return 1000.0 - sum(worth[o] for here in net.left.values() for o in here)  # type: ignore[operator, union-attr]

    def passes(self, size: int) -> float:
        return 0.0


def test_the_macs_of_what_is_left_are_those_counted() -> None:
    model, (x, y) = tiny_model(), tiny_batch()
    macs = Passed(model, Batch(x, y))
    for left in ({"body": ["conv", "skip"], "node": ["0", "1", "2"]}, {"body": ["wide"], "node": ["0", "2"]}):
        assert macs(left) == Operations()(Remaining(model, left), Batch(x, y))


def test_the_recipe_prunes_by_condition_and_regions() -> None:
    part = recipes.load("te-nas")[1](points=2, repeats=1)
    assert part.scores == (TangentCondition(), LinearRegions(points=2))
    check_recipe("te-nas", options={"points": 2, "repeats": 1, "batch": 4}, stops=4)
