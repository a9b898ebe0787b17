"""Random streams derived from one seed by name, so that no part disturbs another part's numbers.

A stream is a function of (seed, names…) alone: two counters in the state (epoch, step) are enough to resume it exactly.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mimar.core.errors import UsageError


def derive(seed: int, *names: str | int) -> int:
    """Hash (seed, names…) to an integer in [0, 2**63): the seed of one named stream."""
    text = json.dumps([int(seed), *names], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator for the stream called `names` under `seed`."""
    return torch.Generator().manual_seed(derive(seed, *names))


Rng = torch.Generator | random.Random | int  # whatever a caller has: a stream, the standard library's, or a seed


def generator(rng: Rng) -> torch.Generator:
    """Return `rng` itself if it is torch's; else a generator seeded by it (Python's, NumPy's, or a plain integer).

    Python's and NumPy's generators are advanced by one draw. Raises UsageError for anything else.
    """
    if isinstance(rng, torch.Generator):
        return rng
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
