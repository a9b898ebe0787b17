"""Where candidates come from: different, allowed, with parents; bred ones climb what the model says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from mimar.core.streams import Draws
from mimar.space import Architecture, Choice, Space, nasbench201
from mimar.strategies.pools import Bred, Everything, Mutants, Pool, Quasirandom, Sampled, Scene, Staged
from mimar.testing.strategy import small_space

CELLS = nasbench201()
CUBE = Space([Choice("x", (0.0, 1.0), "value"), Choice("op", ("a", "b", "c", "d"))])


def convolutions(archs: Sequence[Architecture]) -> np.ndarray:
    return np.array([sum(v == "nor_conv_3x3" for v in a.values()) + 0.1 * (a["cell/0-3"] == "none") for a in archs])


def light(arch: Architecture) -> bool:
    return sum(v == "nor_conv_3x3" for v in arch.values()) <= 2


@pytest.mark.parametrize("pool", [Sampled(), Quasirandom(), Mutants(), Bred(generations=2)])
def test_as_many_as_wanted_all_different_and_allowed(pool: Pool) -> None:
    best = [a for a in (CELLS.sample(Draws(i, "best")) for i in range(20)) if light(a)]
    scene = Scene(CELLS, Draws(0, "pool"), best, convolutions, light)
    found = pool(scene, 50)
    assert len(found) == 50 and all(CELLS.valid(a) and light(a) for a in found)
    again = pool(Scene(CELLS, Draws(0, "pool"), best, convolutions, light), 50)
    assert list(again.items()) == list(found.items())


@pytest.mark.parametrize("pool", [Sampled(), Quasirandom(), Everything(), Mutants(), Bred()])
def test_a_space_that_is_too_small_gives_what_it_has(pool: Pool) -> None:
    space = Space([Choice("a", ("x", "y")), Choice("b", ("x", "y"))])
    found = pool(Scene(space, Draws(0), [space.sample(Draws(1))], lambda archs: np.zeros(len(archs))), 50)
    assert len(found) == 4
    assert pool(Scene(small_space(), Draws(0), allowed=lambda a: False), 5) == {}


def test_everything_is_everything_of_small_spaces() -> None:
    assert len(Everything()(Scene(CELLS, Draws(0)), 15625)) == 15625
    assert len(Everything()(Scene(CELLS, Draws(0)), 10)) == 10
    assert len(Everything(most=20_000)(Scene(CELLS, Draws(0), allowed=light), 10)) == sum(map(light, CELLS.enumerate()))
    assert len(Everything()(Scene(CUBE, Draws(0)), 10)) == 10  # endless


def test_quasirandom_points_leave_no_gaps() -> None:
    found = list(Quasirandom()(Scene(CUBE, Draws(3)), 64))
    assert sorted(int(a["x"] * 64) for a in found) == list(range(64))
    assert Counter(a["op"] for a in found) == dict.fromkeys("abcd", 16)


def test_mutants_are_one_step_from_the_best() -> None:
    best = [CELLS.sample(Draws(i, "best")) for i in range(20)]
    found = Mutants(share=0.5, best=10)(Scene(CELLS, Draws(0), best), 40)
    parents = [p for p in found.values() if p is not None]
    assert len(parents) == 20 and set(parents) <= set(best[:10])
    for arch, parent in found.items():
        assert parent is None or sum(arch[k] != parent[k] for k in arch) == 1
    assert not any(Mutants()(Scene(CELLS, Draws(0)), 10).values())


def test_what_is_bred_climbs_the_scores() -> None:
    scene = Scene(CELLS, Draws(0), score=convolutions)
    found = list(Bred(generations=30)(scene, 30))
    scores = convolutions(found)
    assert scores[0] == 6.0 and list(scores) == sorted(scores, reverse=True)
    assert convolutions(list(Sampled()(Scene(CELLS, Draws(0)), 30))).max() < 6.0
    limited = list(Bred(generations=30)(Scene(CELLS, Draws(0), score=convolutions, allowed=light), 30))
    assert convolutions(limited)[0] == 2.1


def test_breeding_ends_where_nothing_gets_better() -> None:
    asked = []

    def flat(archs: Sequence[Architecture]) -> np.ndarray:
        asked.append(len(archs))
        return np.zeros(len(archs))

    Bred(generations=50, patience=3)(Scene(CELLS, Draws(0), score=flat), 20)
    assert len(asked) == 1 + 3


def test_stages_follow_each_other() -> None:
    pool = Staged(first=Sampled(), rounds=2, then=Everything(20_000))
    sizes = [len(pool(Scene(CELLS, Draws(0), rounds=r), 5)) for r in range(4)]
    assert sizes == [5, 5, 15625, 15625]
