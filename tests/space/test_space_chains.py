"""Chains: a path is drawn by the law of drawing anew until all meet, however rarely they do."""

from __future__ import annotations

from collections import Counter

import pytest

from mimar.core.errors import SpaceError
from mimar.core.streams import Draws, stream
from mimar.space import Architecture, Chain, Choice, Space

WORDS = ("1-1-skip", "1-1-conv3", "1-2-conv3", "2-2-skip", "2-2-conv3")
PRIOR = (1.0, 2.0, 3.0, 0.5, 1.5)


def law(names: tuple[str, ...]) -> dict[Architecture, float]:
    """Return the probability of every path: the product of its priors, given that all meet."""
    of = Space([Choice(name, WORDS) for name in names], [Chain(names)])
    prior = dict(zip(WORDS, PRIOR, strict=True))
    mass = {}
    for arch in of.enumerate():
        mass[arch] = 1.0
        for option in arch.values():
            mass[arch] *= prior[option]
    return {arch: m / sum(mass.values()) for arch, m in mass.items()}


def test_a_path_is_drawn_by_the_law_of_rejection() -> None:
    names = ("a", "b", "c")
    choices = {name: Choice(name, WORDS, prior=PRIOR) for name in names}
    draws, n = Draws(0, "paths"), 20_000
    found = Counter(Architecture(Chain(names).draw(choices, draws)) for _ in range(n))
    wanted = law(names)
    assert found.keys() <= wanted.keys()
    for arch, share in wanted.items():
        assert abs(found[arch] - n * share) < 5 * (n * share) ** 0.5 + 1, arch


@pytest.mark.parametrize("rng", [stream(0, "long"), Draws(0, "long")], ids=["generator", "draws"])
def test_a_long_chain_is_sampled(rng: object) -> None:
    names = tuple(f"p{i}" for i in range(16))  # of 5^16 combinations one in 10^4 meets
    of = Space([*(Choice(name, WORDS) for name in names), Choice("rate", (1, 2))], [Chain(names)])
    for _ in range(3):
        assert of.valid(of.sample(rng))  # type: ignore[arg-type]


def test_what_never_meets_is_named() -> None:
    of = Space([Choice("a", ("1-2-x", "1-3-x")), Choice("b", ("4-4-x", "5-5-x"))], [Chain(("a", "b"))])
    assert Chain(("a", "b")).draw({c.name: c for c in of.choices}, Draws(0)) == {}
    with pytest.raises(SpaceError, match="none of 1000 sampled architectures satisfies the constraints"):
        of.sample(0)
