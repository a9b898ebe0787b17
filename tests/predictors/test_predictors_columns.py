"""Decisions as columns: the one-hot code, ridge regression and forests on it, and the kernel of decisions."""

from __future__ import annotations

import numpy as np
import pytest

from mimar.core.errors import DataError
from mimar.core.streams import Draws
from mimar.predictors.columns import Columns
from mimar.predictors.forest import RandomForest
from mimar.predictors.laplacian import Laplacian
from mimar.predictors.ridge import Ridge
from mimar.space import Architecture, Choice, Space, nasbench201


def mixed() -> Space:
    return Space(
        [
            Choice("op", ("conv", "pool", "skip")),
            Choice("width", (8, 16, 32, 64), "size"),
            Choice("inputs", ("0", "1", "2"), "some", 2),
            Choice("kernel", ("3", "5"), when=(("op", "conv"),)),
            Choice("lr", (0.001, 1.0), "value", log=True),
        ]
    )


def drawn(space: Space, n: int, seed: int = 0) -> list[Architecture]:
    draws = Draws(seed, "drawn")
    return [space.sample(draws) for _ in range(n)]


def test_the_code_is_that_of_the_space() -> None:
    space = mixed()
    archs = drawn(space, 50)
    columns = Columns(space)
    assert np.allclose(columns(archs), space.encode(archs, "onehot").double().numpy(), atol=1e-7)
    assert [c.name for c in columns.names][:4] == ["op = conv", "op = pool", "op = skip", "width = 8"]
    assert columns.names[-1].name == "lr" and len(columns) == 13
    assert columns([]).shape == (0, 13)


def test_a_size_can_be_a_number() -> None:
    space = mixed()
    numbers = Columns(space, ["width", "lr"], sizes="number")
    arch = Architecture({"op": "pool", "width": 64, "inputs": ("0", "1"), "lr": 0.001})
    assert numbers([arch]).tolist() == [[0.875, 0.0]]


def test_the_kernel_of_decisions_by_hand() -> None:
    space = Space([Choice("op", ("a", "b", "c")), Choice("width", (8, 16, 32, 64), "size")])
    a, b, c = (Architecture({"op": o, "width": w}) for o, w in (("a", 8), ("b", 8), ("b", 64)))
    kernel = Laplacian((0.5,)).start(space)
    (gram,) = kernel.fit([a, b, c])
    d = np.array([[0, 1, 1.75], [1, 0, 0.75], [1.75, 0.75, 0]])
    assert np.allclose(gram, np.exp(-d / (0.5 * 2)), atol=1e-15)
    assert np.allclose(kernel.cross([c], 0), gram[2:], atol=1e-15)
    assert np.allclose(kernel.own(), gram)


def test_several_of_several_differ_by_their_share() -> None:
    space = Space([Choice("in", ("0", "1", "2", "3"), "some", 2)])
    kernel = Laplacian((1.0,)).start(space)
    kernel.fit([Architecture({"in": ("0", "1")})])
    near = kernel.cross([Architecture({"in": p}) for p in (("0", "1"), ("0", "2"), ("2", "3"))], 0)
    assert np.allclose(-np.log(near[:, 0]), [0.0, 0.5, 1.0])


def test_the_kernel_of_decisions_is_positive_definite() -> None:
    for gram in Laplacian().start(space := mixed()).fit(drawn(space, 80)):
        assert np.array_equal(gram, gram.T) and np.allclose(np.diag(gram), 1.0)
        assert np.linalg.eigvalsh(gram).min() > -1e-8


def test_ridge_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import Ridge as Oracle

    space = mixed()
    archs, others = drawn(space, 60), drawn(space, 20, seed=1)
    y = np.random.default_rng(0).normal(size=60) * 3 + 7
    model = Ridge(penalty=0.7).start(space, 0)
    model.fit(archs, y)
    x = Columns(space)
    oracle = Oracle(alpha=0.7).fit(x(archs), y)
    mean, std = model.predict(others)
    assert np.allclose(mean, oracle.predict(x(others)), atol=1e-10)
    middle = x(archs).mean(0)
    centred, wide = x(others) - middle, x(archs) - middle
    noise = np.mean((y - oracle.predict(x(archs))) ** 2)
    dense = noise * np.diag(centred @ np.linalg.inv(wide.T @ wide + 0.7 * np.eye(13)) @ centred.T)
    assert np.allclose(std**2, dense)
    best = model.explain()[0]
    assert best.effect == pytest.approx(oracle.coef_.max()) and best.name == x.names[int(oracle.coef_.argmax())].name


def test_a_forest_disagrees_as_its_trees_do() -> None:
    space = nasbench201()
    archs = drawn(space, 60)
    y = [sum(o == "nor_conv_3x3" for o in a.values()) + 0.1 * i % 3 for i, a in enumerate(archs)]
    model = RandomForest(trees=20).start(space, 3)
    model.fit(archs, y)
    mean, std = model.predict(archs)
    each = np.array([[t.predict(Columns(space)([a]).astype(np.float32))[0, 0] for a in archs] for t in model.trees])
    assert np.allclose(mean, each.mean(0)) and np.allclose(std, each.std(0)) and std.max() > 0
    again = RandomForest(trees=20).start(space, 3)
    again.fit(archs, y)
    assert np.array_equal(again.predict(archs)[0], mean)
    other = RandomForest(trees=20).start(space, 4)
    other.fit(archs, y)
    assert not np.array_equal(other.predict(archs)[0], mean)


@pytest.mark.parametrize("part", [Ridge(), RandomForest(trees=3)])
def test_nonsense_is_refused(part: Ridge | RandomForest) -> None:
    space = nasbench201()
    archs = drawn(space, 3)
    model = part.start(space, 0)
    with pytest.raises(DataError, match="before it was fitted"):
        model.predict(archs)
    with pytest.raises(DataError, match="finite"):
        model.fit(archs, [1.0, float("nan"), 2.0])
    with pytest.raises(DataError, match="one number an architecture"):
        model.fit(archs, [1.0])
    model.fit(archs, [2.0, 2.0, 2.0])
    assert np.allclose(model.predict(archs)[0], 2.0)
