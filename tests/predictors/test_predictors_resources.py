"""The process over (architecture, resource): its kernel, its gradient, scikit-learn as an oracle, and what fantasies leave alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from mimar.core.errors import DataError, UsageError
from mimar.core.streams import Draws
from mimar.predictors.columns import Columns
from mimar.predictors.resources import ResourcePosterior, ResourceProcess, matern
from mimar.space import Architecture, Choice, Space, nasbench201

MIXED = Space(
    [
        Choice("op", ("a", "b", "c")),
        Choice("width", (8, 16, 32, 64), "size"),
        Choice("lr", (1e-3, 1.0), "value", log=True),
        Choice("kernel", ("3", "5"), when=(("op", "a"),)),
    ]
)


def drawn(space: Space, n: int, seed: int = 0) -> list[Architecture]:
    draws = Draws(seed, "test")
    return [space.sample(draws) for _ in range(n)]


def fitted(space: Space, n: int = 24, **more: Any) -> tuple[ResourcePosterior, list[Architecture], list[float], Any]:
    archs, resources = drawn(space, n), [(1.0, 3.0, 9.0)[i % 3] for i in range(n)]
    y = np.random.default_rng(1).standard_normal(n) + 0.3 * np.log(resources)
    model = ResourceProcess().start(space)
    model.fit(archs, resources, y.tolist(), **more)
    return model, archs, resources, y


def test_the_kernel_of_two_pairs_by_hand() -> None:
    """op differs, width 8 and 64 (units 1/8 and 7/8), lr the same, kernel active in one: d² = 1/ℓ₁² + (6/8)²/ℓ₂² + ½/ℓ₄²."""
    one = Architecture({"op": "a", "width": 8, "lr": 0.1, "kernel": "3"})
    two = Architecture({"op": "b", "width": 64, "lr": 0.1})
    model = ResourceProcess().start(MIXED)
    lengths, ratio, a, b, noise = [0.7, 1.1, 0.9, 1.3], 1.7, 0.6, 0.2, 0.01
    model.parameters = np.log([*lengths, ratio, a, b, noise])
    codes = Columns(MIXED, sizes="number")([one, two])
    found = model.kernel(codes[:1], np.log([2.0]), codes[1:], np.log([6.0]))

    def m(d: float) -> float:
        return (1 + math.sqrt(5) * d + 5 / 3 * d * d) * math.exp(-math.sqrt(5) * d)

    d = math.sqrt(1 / 0.7**2 + (6 / 8) ** 2 / 1.1**2 + 0.5 / 1.3**2)
    level = m(math.log(3) / 1.7)
    assert found == pytest.approx(np.array([[a * m(d) * level + b * level]]))
    same = model.kernel(codes, np.log([2.0, 6.0]), codes, np.log([2.0, 6.0]))
    assert np.diag(same) == pytest.approx([a + b, a + b])


@pytest.mark.parametrize("space", [MIXED, nasbench201()])
def test_the_kernel_is_positive_semidefinite(space: Space) -> None:
    rng = np.random.default_rng(0)
    model = ResourceProcess().start(space)
    codes = Columns(space, sizes="number")(drawn(space, 60))
    logs = np.log(rng.choice([1.0, 3.0, 9.0, 27.0], 60))
    for _ in range(10):
        model.parameters = rng.normal(model.middle, 1.0)
        gram = model.kernel(codes, logs, codes, logs)
        assert gram == pytest.approx(gram.T) and np.linalg.eigvalsh(gram).min() > -1e-9


def test_the_slope_of_matern_is_its_derivative() -> None:
    at, step = np.linspace(0.01, 4.0, 9), 1e-6
    slope = (matern(at + step)[0] - matern(at - step)[0]) / (2 * step)
    assert matern(at)[1] == pytest.approx(slope, rel=1e-6)
    assert matern(np.zeros(1)) == (pytest.approx([1.0]), pytest.approx([-5 / 6]))


@pytest.mark.parametrize("space", [MIXED, nasbench201()])
def test_the_gradient_of_the_cost(space: Space) -> None:
    model, archs, resources, y = fitted(space, 15)
    codes, logs = Columns(space, sizes="number")(archs), np.log(resources)
    target = (y - y.mean()) / y.std()
    for seed in range(3):
        at = np.random.default_rng(seed).normal(model.middle, 0.5)
        slow = approx_fprime(at, lambda p: model.cost(p, codes, logs, target)[0], 1e-6)
        assert model.cost(at, codes, logs, target)[1] == pytest.approx(slow, rel=1e-3, abs=1e-4)


def test_the_posterior_is_that_of_scikit_learn() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    space, archs = nasbench201(), drawn(nasbench201(), 40)
    train, test = archs[:30], archs[30:]
    y = np.random.default_rng(0).standard_normal(30)
    model = ResourceProcess().start(space)
    lengths = np.array([0.5, 0.8, 1.0, 1.5, 2.0, 3.0])
    parameters = np.log([*lengths, 1.0, 0.7, 0.4, 0.05])
    model.fit(train, [12.0] * 30, y.tolist(), parameters)
    columns = Columns(space, sizes="number")
    scales = [lengths[[c.name for c in space.ordered].index(n.choice)] * math.sqrt(2) for n in columns.names]
    kernel = ConstantKernel(0.7) * Matern(scales, nu=2.5) + ConstantKernel(0.4)
    theirs = GaussianProcessRegressor(kernel, alpha=0.05 + 1e-8, optimizer=None, normalize_y=True)
    theirs.fit(columns(train), y)
    mean, std = theirs.predict(columns(test), return_std=True)
    found = model.predict(test, [12.0] * 10)
    assert found[0] == pytest.approx(mean) and found[1] == pytest.approx(std, rel=1e-6)


def test_fitting_lowers_the_cost_and_is_a_function_of_the_data() -> None:
    model, archs, resources, y = fitted(MIXED)
    codes, logs = Columns(MIXED, sizes="number")(archs), np.log(resources)
    target = (y - y.mean()) / y.std()
    assert model.cost(model.parameters, codes, logs, target)[0] < model.cost(model.middle, codes, logs, target)[0]
    again, *_ = fitted(MIXED)
    assert again.parameters.tolist() == model.parameters.tolist()
    kept, *_ = fitted(MIXED, parameters=model.parameters.tolist())
    assert kept.predict(archs, resources)[0] == pytest.approx(model.predict(archs, resources)[0])


def test_fantasies_change_nothing_in_expectation_and_make_surer() -> None:
    """20 fantasies whose numbers have the mean 0: the mean over them stays, everywhere; only the pending ones are surer."""
    model, archs, resources, _ = fitted(MIXED)
    others, at = drawn(MIXED, 12, seed=5), [9.0] * 12
    mean, std = model.predict(others, at)
    there, before = model.predict(archs, resources)
    z = np.random.default_rng(0).standard_normal((3, 20))
    model.fantasise(others[:3], [1.0, 9.0, 9.0], z - z.mean(1, keepdims=True))
    means, surer = model.predict(others, at)
    assert means.shape == (12, 20)
    assert means.mean(1) == pytest.approx(mean) and np.all(surer <= std + 1e-12)
    assert model.predict(archs, resources)[0].mean(1) == pytest.approx(there)
    assert np.all(surer[1:3] < std[1:3]) and np.all(model.predict(archs, resources)[1] <= before + 1e-12)


def test_fantasies_are_drawn_from_the_posterior_of_results() -> None:
    model, _, _, _ = fitted(MIXED)
    others = drawn(MIXED, 2, seed=9)
    codes, logs = Columns(MIXED, sizes="number")(others), np.log([9.0, 9.0])
    mean, cov = model._joint(codes, logs)
    theirs, std = model.predict(others, [9.0, 9.0])
    assert model.scale.mean + model.scale.std * mean == pytest.approx(theirs)
    assert np.diag(cov) == pytest.approx((std / model.scale.std) ** 2 + np.exp(model.parameters[-1]), abs=1e-6)
    model.fantasise(others, [9.0, 9.0], np.random.default_rng(0).standard_normal((2, 40_000)))
    assert model.data is not None
    told = model.data.y[-2:]
    assert told.mean(1) == pytest.approx(mean, abs=0.02)
    assert np.cov(told) == pytest.approx(cov, rel=0.05, abs=0.01)


def test_a_level_of_its_own_takes_up_who_goes_on() -> None:
    """Only the best go on, and everything is 2 better there: the prediction for others at the high resource is 2 higher."""
    archs = drawn(nasbench201(), 60)
    worth = [sum(v == "nor_conv_3x3" for v in a.values()) + 0.0 for a in archs]
    order = sorted(range(60), key=lambda i: -worth[i])
    up = order[:8]
    model = ResourceProcess().start(nasbench201())
    model.fit(
        [*archs, *(archs[i] for i in up)],
        [12.0] * 60 + [200.0] * 8,
        [*worth, *(worth[i] + 2.0 for i in up)],
    )
    low = order[-20:]
    mean, _ = model.predict([archs[i] for i in low], [200.0] * 20)
    assert np.mean(mean - [worth[i] for i in low]) == pytest.approx(2.0, abs=0.6)


def test_what_cannot_be_learned() -> None:
    model = ResourceProcess().start(MIXED)
    with pytest.raises(DataError):
        model.fit([], [], [])
    with pytest.raises(DataError):
        model.fit(drawn(MIXED, 2), [1.0, 1.0], [0.0, math.nan])
    with pytest.raises(UsageError, match="noise"):
        ResourceProcess(noise=0.0)
    flat = ResourceProcess().start(MIXED)
    flat.fit(drawn(MIXED, 3), [1.0] * 3, [0.5] * 3)
    assert flat.predict(drawn(MIXED, 3), [1.0] * 3)[0] == pytest.approx([0.5] * 3)
