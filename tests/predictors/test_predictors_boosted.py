"""Boosted trees: SHAP values add up, say which option costs most, and need their extra."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mimar.core.errors import DataError, UsageError
from mimar.core.streams import Draws
from mimar.predictors.boosted import BoostedTrees
from mimar.space import Architecture, Choice, Space, nasbench201
from mimar.space.transforms.prune import weakest

pytest.importorskip("lightgbm")
CELLS = nasbench201()


def drawn(space: Space, n: int, seed: int = 0) -> list[Architecture]:
    draws = Draws(seed, "drawn")
    return [space.sample(draws) for _ in range(n)]


def worth(arch: Architecture) -> float:
    """Return a worth in which skipping edge 1-3 always costs 5 points, and 3×3 convolutions help."""
    return 80.0 + sum(v == "nor_conv_3x3" for v in arch.values()) - 5.0 * (arch["cell/1-3"] == "skip_connect")


@pytest.mark.parametrize("members", [1, 3])
def test_shares_add_up_to_the_prediction(members: int) -> None:
    archs = drawn(CELLS, 150)
    model = BoostedTrees(members=members).start(CELLS, 0)
    model.fit(archs, [worth(a) for a in archs])
    others = drawn(CELLS, 50, seed=1)
    mean, std = model.predict(others)
    assert np.abs(model.shares(others).sum(1) - mean).max() < 1e-6
    assert (std.max() > 0) == (members > 1)
    assert np.corrcoef(mean, [worth(a) for a in others])[0, 1] > 0.9


def test_the_option_that_costs_most_is_the_first_to_go() -> None:
    archs = drawn(CELLS, 200)
    model = BoostedTrees().start(CELLS, 0)
    model.fit(archs, [worth(a) for a in archs])
    effects = model.explain()
    worst = effects[-1]
    assert (worst.choice, worst.option) == ("cell/1-3", "skip_connect") and worst.effect < -3
    assert worst.name == "cell/1-3 = skip_connect"
    assert worst.times == sum(a["cell/1-3"] == "skip_connect" for a in archs)
    taken = {(e.choice or "", e.option): e.effect for e in effects}
    assert weakest(CELLS, taken, 3).removed[0] == ("cell/1-3", "skip_connect")
    using = [a for a in archs if a["cell/1-3"] == "skip_connect"]
    column = model.columns.names.index(next(c for c in model.columns.names if c == worst[3:]))
    assert worst.effect == pytest.approx(model.shares(using)[:, column].mean())


def test_it_learns_from_few_and_repeats_itself() -> None:
    space = Space([Choice("op", ("a", "b", "c")), Choice("lr", (0.0, 1.0), "value")])
    archs = drawn(space, 30)
    y = [float("abc".index(a["op"])) for a in archs]
    first, second, other = (BoostedTrees().start(space, seed) for seed in (0, 0, 1))
    for model in (first, second, other):
        model.fit(archs[:10], y[:10])
        model.fit(archs, y)
    assert np.corrcoef(first.predict(archs)[0], y)[0, 1] > 0.9
    assert np.array_equal(first.predict(archs)[0], second.predict(archs)[0])
    assert not np.array_equal(first.predict(archs)[0], other.predict(archs)[0])
    assert first.predict([])[0].shape == (0,)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="before it was fitted"):
        BoostedTrees().start(CELLS, 0).explain()
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(UsageError, match=r"pip install 'mimar\[boost\]'"):
        BoostedTrees().start(CELLS, 0)
