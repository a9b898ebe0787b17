"""Distances between architectures: examples worked by hand, and the laws of a metric."""

from __future__ import annotations

import random

import pytest

from mimar.core.errors import UsageError
from mimar.core.streams import stream
from mimar.space import Architecture, Choice, Space, darts, hamming, hausdorff, nasbench201

COST = {"skip_connect": 0.25, "nor_conv_3x3": 4.0, "sep_conv_3x3": 4.0, "max_pool_3x3": 0.5, "0": 0.0}
NESTED = Space(
    [
        Choice("depth", (1, 2, 3), "size"),
        Choice("a/x", ("p", "q")),
        Choice("b/x", ("p", "q"), when=(("depth", 2), ("depth", 3))),
        Choice("c/x", ("p", "q", "r"), when=(("depth", 3),)),
        Choice("c/y", ("p", "q", "r"), "some", 2, when=(("c/x", "r"),)),
    ]
)
SPACES = {"nasbench201": nasbench201(), "darts": darts(nodes=2), "nested": NESTED}


def test_examples_by_hand() -> None:
    a = {"n/0-1": "conv", "n/0-2": "skip", "n/1-2": "pool", "n/1-3": "conv"}
    b = {**a, "n/1-2": "conv"}
    assert hamming(a, b) == pytest.approx(1 / 4)  # one of four choices
    # weights of a: 3 + 1 + 2 + 3 = 9, of b: 3 + 1 + 3 + 3 = 10, of what they share: 3 + 1 + 3 = 7
    assert hamming(a, b, {"conv": 3.0, "pool": 2.0}) == pytest.approx(1 - 7 / 10)
    assert hamming({"s": ("0", "1")}, {"s": ("0", "2")}) == pytest.approx(1 / 2)  # one of two that are taken
    assert hamming({"a": "x"}, {"b": "x"}) == 1.0 and hamming({}, {}) == 0.0 and hamming({}, a) == 1.0
    assert hamming({"a": "x"}, {"a": "y"}, {"x": 0.0, "y": 0.0}) == 0.0
    with pytest.raises(UsageError, match="at least 0, not -1.0"):
        hamming(a, b, {"conv": -1.0})


def test_hausdorff_by_hand() -> None:
    # cells of two edges: A = {ss, cc}, B = {sc, cc, cp}
    a = {"0/x": "s", "0/y": "s", "1/x": "c", "1/y": "c"}
    b = {"0/x": "s", "0/y": "c", "1/x": "c", "1/y": "c", "2/x": "c", "2/y": "p"}
    # nearest in B of ss: sc at ½; of cc: itself. Nearest in A of sc: ½, of cc: 0, of cp: cc at ½.
    assert hausdorff(a, b) == hausdorff(b, a) == pytest.approx(0.5)
    # p is a third cell of its own: one direction alone would not see it
    far = {**a, "2/x": "p", "2/y": "p"}
    assert hausdorff(a, far) == hausdorff(far, a) == 1.0
    assert hausdorff(a, b, {"s": 3.0}) == pytest.approx(1 - 3 / 6)  # ss ↔ sc: share 3 of 6; sc ↔ cc: 1 − 1/4 is further
    swapped = {"9/x": "c", "9/y": "c", "5/x": "s", "5/y": "s"}
    assert hausdorff(a, swapped) == 0.0  # neither order nor names of the cells count
    assert hausdorff({}, {}) == 0.0 and hausdorff({}, a) == hausdorff(a, {}) == 1.0
    assert hausdorff({"p/0/x": "s"}, {"q/1/x": "s"}) == 0.0 and hausdorff({"x": "s"}, {"x": "c"}) == 1.0


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("cost", [None, COST], ids=["plain", "weighted"])
def test_laws_of_a_metric(name: str, cost: dict[str, float] | None) -> None:
    space = SPACES[name]
    archs = [space.sample(stream(i)) for i in range(12)]
    archs += [space.mutate(arch, stream(i)) for i, arch in enumerate(archs[:6])]  # near ones
    for distance, different in ((hamming, 4), (hausdorff, 2)):
        found = {(a, b): distance(a, b, cost) for a in archs for b in archs}
        assert all(d == found[b, a] and 0.0 <= d <= 1.0 for (a, b), d in found.items())
        assert all(found[a, a] == 0.0 for a in archs)
        assert len(set(found.values())) >= different
        for a in archs:
            assert all(found[a, c] <= found[a, b] + found[b, c] + 1e-12 for b in archs for c in archs)


def test_different_architectures_are_apart_and_decisions_are_counted() -> None:
    space = SPACES["nasbench201"]
    archs = [space.sample(stream(i)) for i in range(20)]
    for a in archs:
        for b in archs:
            assert hamming(a, b) == pytest.approx(sum(a[n] != b[n] for n in a) / 6)
            assert (hamming(a, b) == 0.0) == (a == b)


def test_triangle_with_arbitrary_sets_of_decisions() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        cost = {o: rng.choice([0.0, 0.1, 1.0, 7.0]) for o in "pqr"}
        three = [Architecture({n: rng.choice("pqr") for n in "abcd" if rng.random() < 0.6}) for _ in range(3)]
        ab, bc, ac = (hamming(x, y, cost) for x, y in ((three[0], three[1]), three[1:], three[::2]))
        assert ac <= ab + bc + 1e-12
