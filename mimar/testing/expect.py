"""The words of a kit: what must hold, what must be equal, what must be left alone."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mimar.core.state import moments
from mimar.core.trees import add, norm


def expect(holds: bool, sentence: str) -> None:
    """Raise AssertionError with `sentence` unless `holds`."""
    if not holds:
        raise AssertionError(sentence)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors agree in type, shape and every bit (NaN equals itself, 0 differs from −0)."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    x, y = (t.detach().cpu().contiguous().view(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(x, y)


def distance(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Return ‖found − wanted‖ / ‖wanted‖, absolute where `wanted` is zero; infinite where it is not a number."""
    gap, size = norm(add(found, wanted, -1.0)), norm(wanted)
    value = gap / size if size > 0 else gap
    return float("inf") if math.isnan(value) else value


def close(found: Sequence[Tensor], wanted: Sequence[Tensor], tolerance: float, what: str) -> None:
    """Expect two tuples of tensors to agree in shapes, and in values to the relative `tolerance`."""
    shapes, right = [tuple(t.shape) for t in found], [tuple(t.shape) for t in wanted]
    expect(shapes == right, f"{what}: the shapes are {shapes}; they must be {right}")
    gap = distance(found, wanted)
    expect(gap <= tolerance, f"{what}: the relative difference is {gap:.3g}; at most {tolerance:.3g} is allowed")


def identical(found: Sequence[Tensor], wanted: Sequence[Tensor], what: str) -> None:
    """Expect two tuples of tensors to agree in every bit."""
    agree = len(found) == len(wanted) and all(same_bits(a, b) for a, b in zip(found, wanted, strict=True))
    expect(agree, f"{what}: the tensors differ; they must agree in every bit")


def random_states() -> dict[str, Any]:
    """Return the states of the global generators of torch, NumPy and Python."""
    kind, keys, *rest = np.random.get_state()
    return {
        "torch's": torch.random.get_rng_state().numpy().tobytes(),
        "NumPy's": (kind, np.asarray(keys).tobytes(), *rest),
        "Python's": random.getstate(),
    }


@contextmanager
def untouched(
    what: str,
    tensors: Mapping[str, Tensor],
    *,
    models: Iterable[nn.Module] = (),
    optimisers: Iterable[torch.optim.Optimizer] = (),
) -> Iterator[None]:
    """Expect the block to leave tensors, their `.grad`, modes, optimiser states and global random states bit for bit."""
    models, optimisers = list(models), list(optimisers)

    def held() -> dict[str, Tensor]:
        found = dict(tensors)
        found |= {f"{n}.grad": t.grad for n, t in tensors.items() if t.is_leaf and t.grad is not None}
        for optimiser in optimisers:
            found |= {f"the optimiser's {n}": m for n, m in moments(optimiser).items()}
        return found

    def modes() -> list[tuple[bool, ...]]:
        return [tuple(m.training for m in model.modules()) for model in models]

    before = {name: t.detach().clone() for name, t in held().items()}
    states, mode, flags = random_states(), modes(), {n: t.requires_grad for n, t in tensors.items()}
    yield
    after = held()
    for name in {*before, *after}:
        kept = name in before and name in after and same_bits(before[name], after[name])
        expect(kept, f"{what} changed {name}; it must leave it as it was, to the last bit")
    for owner, state in random_states().items():
        expect(
            state == states[owner], f"{what} drew from {owner} global generator; noise must come from explicit streams"
        )
    expect(modes() == mode, f"{what} left a module in another mode (training or evaluation) than before")
    for name, flag in flags.items():
        expect(tensors[name].requires_grad == flag, f"{what} changed requires_grad of {name}")
