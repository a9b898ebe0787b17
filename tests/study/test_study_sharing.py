"""What shared weights say of networks: the figures by hand, and that training them is what it says."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mimar.core.errors import UsageError
from mimar.core.streams import isolated
from mimar.evaluators import Retrain
from mimar.space import OneOf
from mimar.study.sharing import Insight, Plan, agreement, children, figures, insight, shared, truth


class Net(nn.Module):
    """Three layers with three activations each on the 64 pixels of a digit: 27 children, some of which cannot bend."""

    def __init__(self, layers: int = 3, width: int = 12) -> None:
        super().__init__()
        sizes = [64, *[width] * layers]
        self.linear = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])
        bends = {"relu": nn.ReLU, "none": nn.Identity, "shrink": lambda: nn.Hardshrink(1.0)}
        self.bend = nn.ModuleList([OneOf({k: f() for k, f in bends.items()}, name=f"bend{i}") for i in range(layers)])
        self.out = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for linear, bend in zip(self.linear, self.bend, strict=True):
            x = bend(linear(x))
        y: torch.Tensor = self.out(x)
        return y


def plan(layers: int = 1, **more: Any) -> Plan:
    with isolated(0):
        net = Net(layers)
    given: dict[str, Any] = {"retrain": Retrain(epochs=1, batch=32), "trainings": 1, "seeds": 2, "epochs": 2}
    return Plan(net, "digits:limit=300", **{**given, **more})


def test_the_figures_by_hand() -> None:
    known = np.array([0.1, 0.2, 0.3, 0.4])
    up, down, swapped = known, -known, np.array([0.1, 0.2, 0.4, 0.3])
    found = figures(np.array([[up, up], [down, swapped]]), known)
    assert found.tau.tolist() == [[1.0, 1.0], [-1.0, pytest.approx(2 / 3)]]
    assert found.between_epochs == pytest.approx((1 - 2 / 3) / 2)  # up with up, down with swapped
    assert found.between_seeds == pytest.approx(2 / 3) and found.flips == 0.5
    assert found.regret.tolist() == [0.0, pytest.approx(0.1)]
    said = found.to_json()
    assert (
        said["tau"]["mean"] == pytest.approx(5 / 6) and said["children"] == 4 and said["tau_by_epoch"] == [0.0, 0.8333]
    )
    assert agreement(known, np.zeros(4)) == 0.0


def test_children_are_all_and_not_too_many() -> None:
    assert len(children(plan(3))) == 27
    with pytest.raises(UsageError, match="there are 15625: take a space of at most 200"):
        children(Plan("nasbench201:cells=1,channels=2", "digits:limit=300"))
    with pytest.raises(UsageError, match="seeds is 1"):
        plan(seeds=1)
    with pytest.raises(UsageError, match="groups is 4; it must be between 1 and the number of children, 3"):
        insight(plan(), 4, np.zeros(3))


def test_a_group_of_one_child_is_that_child_alone() -> None:
    one = plan()
    those = children(one)
    apart, together = shared(one, those, 0, 3), shared(one, those, 0, 1)
    assert apart.shape == together.shape == (2, 3) and (apart != together).any()
    assert (shared(one, those, 0, 3) == apart).all() and (shared(one, those, 1, 3) != apart).any()
    swapped = shared(one, [those[0], those[2], those[1]], 0, 3)
    assert (swapped[:, 0] == apart[:, 0]).all()  # another child's group does not touch it


def test_the_truth_is_the_mean_of_trainings() -> None:
    those = children(plan())
    once, twice = truth(plan(), those), truth(plan(trainings=2), those)
    assert once.shape == (3,) and ((0 < once) & (once <= 1)).all() and (once != twice).any()


@pytest.mark.slow
def test_rankings_change_between_epochs() -> None:
    """Catalogue F12: 27 children; the three best change from epoch to epoch."""
    found: Insight = insight(plan(3, epochs=6, seeds=4), 1, np.arange(27.0))
    assert found.flips > 0.2 and found.between_epochs < 1.0
