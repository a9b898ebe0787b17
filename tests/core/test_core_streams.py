"""Streams: stable constants, independence of names, isolation of the global generators."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mimar.core.streams import Draws, below, derive, draw, generator, isolated, source, stream, uniforms


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ((0,), 7520536977032167579),
        ((0, "train", 3), 4649139585362993845),
        ((1, "train", 3), 7703380211222275915),
        ((0, "3"), 3580026792798245986),
        ((0, 3), 6013528920613241781),
    ],
)
def test_seeds_of_streams_never_change(names: tuple[int | str, ...], wanted: int) -> None:
    """Published runs depend on these numbers: hash(seed, names), the same on every machine and in every version."""
    assert derive(*names) == wanted  # type: ignore[arg-type]


def test_first_draws_of_a_stream_never_change() -> None:
    assert draw(stream(0, "a")) == 1580935505253124033
    assert torch.randint(1000, (3,), generator=stream(5)).tolist() == [670, 298, 119]


@given(st.integers(-(2**40), 2**40), st.lists(st.one_of(st.text(max_size=5), st.integers(0, 99)), max_size=3))
def test_seeds_are_in_range_and_names_matter(seed: int, names: list[str | int]) -> None:
    found = derive(seed, *names)
    assert 0 <= found < 2**63
    assert found != derive(seed + 1, *names) and found != derive(seed, *names, 0)


def test_names_do_not_run_together() -> None:
    seeds = {derive(0, *n) for n in (("ab", "c"), ("a", "bc"), ("abc",), ("ab,c",), ("1",), (1,), ("a", 1), ("a", "1"))}
    assert len(seeds) == 8


def test_draw_moves_its_stream_and_stays_in_range() -> None:
    rng = stream(0)
    numbers = [draw(rng) for _ in range(100)]
    assert len(set(numbers)) == 100 and all(0 <= n < 2**62 for n in numbers)


def test_isolation_seeds_inside_and_restores_outside() -> None:
    before = torch.random.get_rng_state()
    with isolated(3):
        first = torch.rand(4)
        with isolated(4):
            inner = torch.rand(4)
        second = torch.rand(4)
    assert torch.equal(before, torch.random.get_rng_state())
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(first, torch.rand(4, generator=generator))
    assert torch.equal(second, torch.rand(4, generator=generator)) and not torch.equal(first, inner)


def test_isolation_restores_after_a_failure() -> None:
    before = torch.random.get_rng_state()
    with pytest.raises(KeyError), isolated(3):
        torch.rand(4)
        raise KeyError
    assert torch.equal(before, torch.random.get_rng_state())


# --- Draws --------------------------------------------------------------------------------------------------------


def test_draws_are_splitmix64() -> None:
    draws = Draws(3, "any")
    draws.key = 0
    assert [draws.bits() for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_draws_resume_from_a_number() -> None:
    first = Draws(1, "a", 2)
    head = first.uniforms(5) + [first.below(7), first.choice("abc")]
    again = Draws(1, "a", 2, drawn=first.drawn)
    assert [first.uniform() for _ in range(4)] == [again.uniform() for _ in range(4)]
    assert Draws(1, "a", 2).uniforms(5) == head[:5] and Draws(1, "a", 3).uniforms(5) != head[:5]


def test_draws_are_uniform_and_samples_are_permutations() -> None:
    draws = Draws(0, "law")
    values = draws.uniforms(20_000)
    assert 0 <= min(values) and max(values) < 1
    counts = [0] * 10
    for v in values:
        counts[int(10 * v)] += 1
    assert sum((c - 2000) ** 2 / 2000 for c in counts) < 27.9  # chi-square, 9 degrees of freedom, p = 0.001
    assert sorted(draws.sample(9, 9)) == list(range(9)) and len(set(draws.sample(100, 5))) == 5
    first = [0] * 3
    for _ in range(6000):
        first[draws.sample(3, 2)[1]] += 1
    assert all(abs(c - 2000) < 150 for c in first)
    assert {draws.below(3) for _ in range(200)} == {0, 1, 2}


def test_draws_make_generators_and_serve_spaces() -> None:
    draws, again = Draws(5, "x"), Draws(5, "x")
    assert torch.equal(torch.rand(3, generator=draws.torch()), torch.rand(3, generator=again.torch()))
    assert draws.numpy().random() == again.numpy().random()
    assert uniforms(draws, 2) == again.uniforms(2) and below(draws, 5) == again.below(5)
    assert source(draws) is draws and isinstance(generator(draws), torch.Generator)
