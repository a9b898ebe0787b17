"""The laws of spaces and architectures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mimar.core.errors import SpaceError
from mimar.core.streams import stream
from mimar.space import Architecture, Space, of
from mimar.testing.expect import expect, untouched

SMALL = 20_000  # architectures that are enumerated without asking

# what another process does with the JSON of architectures: reads it, and tells digests and texts
READER = """
import json, sys
from mimar.space import Architecture
found = [Architecture.from_json(text) for text in json.load(sys.stdin)]
print(json.dumps([[a.digest, a.to_json()] for a in found]))
"""


def check_space(model_or_space: Any, *, samples: int = 10, seed: int = 0) -> None:
    """Raise AssertionError where a space, or that of a model with choices, breaks a law.

    Architectures survive JSON in another process with another hash seed, with the same digest; `sample`, `mutate` and
    `crossover` give valid ones, repeat under their stream and draw from nothing else; neighbours are valid, distinct and
    differ in exactly one decision; `canonical` is idempotent and the same for a canonical form; `simplify` is
    idempotent; a small space enumerates `size()` different valid architectures; the choices survive JSON.
    """
    space: Space = of(model_or_space) if isinstance(model_or_space, nn.Module) else model_or_space
    archs = [space.sample(stream(seed, "sample", i)) for i in range(samples)]
    _draws(space, archs, seed)
    for arch in archs:
        _neighbours(space, arch)
        _canonical(space, arch)
    _counts(space)
    _survives_json(space, archs)
    _travels(archs)


def decisions(space: Space, a: Architecture, b: Architecture) -> list[str]:
    """Return the choices active in both of which a and b decide differently."""
    return [c.name for c in space.choices if c.name in a and c.name in b and a[c.name] != b[c.name]]


def _valid(space: Space, arch: Any, what: str) -> None:
    expect(isinstance(arch, Architecture), f"{what} gave {type(arch).__name__}; it must be an Architecture")
    try:
        space.check(arch)
    except SpaceError as error:
        raise AssertionError(f"{what} gave an architecture that is not of the space: {error}") from None


def _draws(space: Space, archs: Sequence[Architecture], seed: int) -> None:
    with untouched("drawing from the space", {}):
        for i, arch in enumerate(archs):
            _valid(space, arch, "sample")
            other = archs[(i + 1) % len(archs)]
            again = [space.sample(stream(seed, "sample", i)) for _ in range(2)]
            expect(again == [arch, arch], "sample gave different architectures under the same stream")
            first, second = (space.mutate(arch, stream(seed, "mutate", i)) for _ in range(2))
            _valid(space, first, "mutate")
            expect(first == second, "mutate gave different architectures under the same stream")
            expect(first != arch or space.size() == 1, "mutate gave the architecture it was given")
            child, twin = (space.crossover(arch, other, stream(seed, "crossover", i)) for _ in range(2))
            _valid(space, child, "crossover")
            expect(child == twin, "crossover gave different architectures under the same stream")
            strange = [n for n in child if n in arch and n in other and child[n] not in (arch[n], other[n])]
            expect(not strange, f"crossover decided {strange} as neither parent did")


def _travels(archs: Sequence[Architecture]) -> None:
    texts = [arch.to_json() for arch in archs]
    env = {**os.environ, "PYTHONHASHSEED": str(1 + int(os.environ.get("PYTHONHASHSEED", "0").replace("random", "0")))}
    done = subprocess.run(
        [sys.executable, "-c", READER], input=json.dumps(texts), capture_output=True, text=True, env=env, check=False
    )
    expect(done.returncode == 0, f"another process cannot read the JSON of the architectures: {done.stderr[-500:]}")
    for arch, text, (digest, told) in zip(archs, texts, json.loads(done.stdout), strict=True):
        expect(
            digest == arch.digest,
            f"{text} has the digest {arch.digest} here and {digest} in another process; digests must not depend on hashing",
        )
        expect(told == text, f"{text} came back from another process as {told}")
        back = Architecture.from_json(text)
        expect(back == arch and hash(back) == hash(arch), f"{text} came back from JSON as another architecture")


def _neighbours(space: Space, arch: Architecture) -> None:
    near = space.neighbours(arch)
    expect(len(set(near)) == len(near), "neighbours names an architecture twice")
    for other in near:
        _valid(space, other, "neighbours")
        differing = decisions(space, arch, other)
        expect(
            len(differing) == 1,
            f"a neighbour differs in {len(differing)} decisions ({', '.join(differing) or 'none'}); it must be exactly one",
        )


def _canonical(space: Space, arch: Architecture) -> None:
    for name, rule in (("canonical", space.canonical), ("simplify", space.simplify)):
        once = rule(arch)
        expect(rule(arch) == once, f"{name} gave two answers for one architecture")
        expect(rule(once) == once, f"{name} is not idempotent: applied to its own result it changes it")
        reordered = Architecture(dict(reversed(list(arch.items()))))
        expect(rule(reordered) == once, f"{name} depends on the order in which the decisions are written")
    _valid(space, space.canonical(arch), "canonical")


def _counts(space: Space) -> None:
    size = space.size()
    if size > SMALL:
        return
    found = set()
    for number, arch in enumerate(space.enumerate()):
        expect(number < size, f"enumerate gives more than size() = {size} architectures")
        _valid(space, arch, "enumerate")
        found.add(arch)
    expect(len(found) == size, f"enumerate gives {len(found)} different architectures, but size() is {size}")


def _survives_json(space: Space, archs: Sequence[Architecture]) -> None:
    data = json.loads(json.dumps(space.to_json()))
    again = Space.from_json(data, space.constraints, layout=space.layout)
    expect(again.choices == space.choices, "the choices of the space came back from JSON as other choices")
    drawn = [again.sample(stream(0, i)) for i in range(3)]
    expect(drawn == [space.sample(stream(0, i)) for i in range(3)], "the space from JSON samples other architectures")
    for arch in archs:
        expect(again.valid(arch), "the space from JSON refuses an architecture of the space")
        gates = space.gates(arch, dtype=torch.float64)
        inactive = [n for n in gates if n not in arch]
        expect(not inactive, f"gates are given for {inactive}, which are inactive in the architecture")
