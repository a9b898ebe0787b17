"""Random streams derived from one seed by name, so that no part disturbs another part's numbers.

A stream is a function of (seed, names…) alone: two counters in the state (epoch, step) are enough to resume it exactly.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from mimar.core.errors import UsageError

T = TypeVar("T")


def derive(seed: int, *names: str | int) -> int:
    """Hash (seed, names…) to an integer in [0, 2**63): the seed of one named stream."""
    text = json.dumps([int(seed), *names], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator for the stream called `names` under `seed`."""
    return torch.Generator().manual_seed(derive(seed, *names))


MASK = (1 << 64) - 1
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Draws:
    """A stream of numbers whose whole state is how many were drawn, for inner loops in plain Python.

    Number i is SplitMix64 of (key, i), key a hash of (seed, names…): microseconds to make, half a microsecond a draw,
    and `drawn` alone resumes it. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    """

    __slots__ = ("drawn", "key")

    def __init__(self, seed: int, *names: str | int, drawn: int = 0) -> None:
        self.key, self.drawn = derive(seed, *names), drawn

    def bits(self) -> int:
        """Draw an integer in [0, 2**64)."""
        self.drawn += 1
        z = (self.key + self.drawn * GOLDEN) & MASK
        z = ((z ^ (z >> 30)) * FIRST) & MASK
        z = ((z ^ (z >> 27)) * SECOND) & MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        """Draw a number in [0, 1)."""
        return (self.bits() >> 11) * 2.0**-53

    def uniforms(self, n: int) -> list[float]:
        """Draw n numbers in [0, 1)."""
        return [(self.bits() >> 11) * 2.0**-53 for _ in range(n)]

    def below(self, n: int) -> int:
        """Draw a whole number in [0, n); the bias is below n / 2**64."""
        return (self.bits() * n) >> 64

    def choice(self, given: Sequence[T]) -> T:
        """Draw one of a non-empty sequence."""
        return given[self.below(len(given))]

    def sample(self, n: int, k: int) -> list[int]:
        """Draw k different whole numbers in [0, n), in random order: the beginning of a Fisher–Yates shuffle."""
        moved: dict[int, int] = {}
        found = []
        for i in range(k):
            j = i + self.below(n - i)
            found.append(moved.get(j, j))
            moved[j] = moved.get(i, i)
        return found

    def numpy(self) -> Any:
        """Return a NumPy generator seeded by one draw."""
        import numpy as np

        return np.random.default_rng(self.bits())

    def torch(self) -> torch.Generator:
        """Return a torch generator seeded by one draw."""
        return torch.Generator().manual_seed(self.bits() >> 1)


Rng = (
    torch.Generator | Draws | random.Random | int
)  # whatever a caller has: a stream, the standard library's, or a seed


def uniforms(rng: torch.Generator | Draws, n: int) -> list[float]:
    """Draw n numbers in [0, 1) at once."""
    if isinstance(rng, Draws):
        return rng.uniforms(n)
    found: list[float] = torch.rand(n, dtype=torch.float64, generator=rng).tolist()
    return found


def below(rng: torch.Generator | Draws, n: int) -> int:
    """Draw a whole number in [0, n)."""
    return rng.below(n) if isinstance(rng, Draws) else int(torch.randint(n, (), generator=rng))


def source(rng: Rng) -> torch.Generator | Draws:
    """Return `rng` if numbers can be drawn from it by `uniforms` and `below`; else a generator seeded by it."""
    return rng if isinstance(rng, Draws) else generator(rng)


def generator(rng: Rng) -> torch.Generator:
    """Return `rng` itself if it is torch's; else a generator seeded by it (Python's, NumPy's, or a plain integer).

    Python's and NumPy's generators are advanced by one draw. Raises UsageError for anything else.
    """
    if isinstance(rng, torch.Generator):
        return rng
    if isinstance(rng, Draws):
        return rng.torch()
    if isinstance(rng, int) and not isinstance(rng, bool):
        return torch.Generator().manual_seed(derive(rng))
    if isinstance(rng, random.Random):
        return torch.Generator().manual_seed(rng.getrandbits(62))
    if hasattr(rng, "integers"):
        return torch.Generator().manual_seed(int(rng.integers(2**62)))
    raise UsageError(
        f"rng is a {type(rng).__name__}; give a torch.Generator (mimar.core.streams.stream(seed, name)), "
        "a random.Random, a NumPy Generator or a whole number"
    )


def draw(rng: Rng) -> int:
    """Draw one integer in [0, 2**62) from `rng`: the seed of a child stream."""
    return int(torch.randint(2**62, (), generator=generator(rng)))


@contextmanager
def unmoved() -> Iterator[None]:
    """Put Python's global generator back after the block: some libraries draw from it while they are imported."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def isolated(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators inside the block, and restore them bit for bit after it."""
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.random.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
