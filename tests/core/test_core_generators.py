"""Whatever a caller has for randomness becomes a torch stream."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mimar import space
from mimar.core.errors import UsageError
from mimar.core.streams import draw, generator, stream


def test_a_torch_generator_is_itself() -> None:
    rng = stream(0, "a")
    assert generator(rng) is rng


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng, lambda seed: stream(seed, "a")])
def test_equal_generators_draw_equally_and_move_on(make: object) -> None:
    first, again, other = make(3), make(3), make(4)  # type: ignore[operator]
    table = space.nasbench201()
    a, b = table.sample(first), table.sample(first)
    assert a == table.sample(again)
    assert (a, b) != (table.sample(other), table.sample(other))
    assert len({draw(first) for _ in range(5)}) == 5


def test_a_whole_number_is_a_seed() -> None:
    table = space.nasbench201()
    assert table.sample(7) == table.sample(7)
    assert torch.equal(torch.rand(3, generator=generator(7)), torch.rand(3, generator=generator(7)))


@pytest.mark.parametrize("wrong", [None, "seed", 1.5, True])
def test_anything_else_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="torch.Generator"):
        generator(wrong)  # type: ignore[arg-type]
