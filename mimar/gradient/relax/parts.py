"""What all relaxations share: the interface, the context of one call, and the entropy of gates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from mimar.core.streams import Rng
from mimar.space import Choice, Space
from mimar.supernet import Gates

Alphas = Mapping[str, Tensor]  # {choice name: (options,)}


@dataclass
class Context:
    """What a relaxation may look at, and where it leaves what others need (log-probabilities, hard twins)."""

    space: Space
    progress: float = 0.0  # of the search, 0 to 1
    rng: torch.Generator | None = None  # the same noise in every call of one step
    training: bool = True
    scope: Literal["inner", "outer"] = "inner"  # whose loss the gates are for: that of the weights or of the alphas
    memo: dict[str, Any] = field(default_factory=dict)
    held: dict[str, Tensor] = field(default_factory=dict)  # what parts keep between steps: a piece of the state
    loss: Callable[[Mapping[str, Tensor]], Tensor] | None = None  # the inner loss of this batch under other gates


class Relaxation(Protocol):
    """From alphas to gates. Deterministic given alphas, the context's stream and what is held.

    A relaxation may also have `keeps(space)` and `settle(alphas, before, ctx)`: see the functions of these names.
    """

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return fresh alphas, one vector per relaxed choice."""
        ...

    def gates(self, alphas: Alphas, ctx: Context) -> Gates:
        """Return one gate vector per choice of the space."""
        ...


def keeps(part: Relaxation, space: Space) -> dict[str, Tensor]:
    """Return what a relaxation keeps between steps, as it is at the start: nothing unless it has `keeps`."""
    own = getattr(part, "keeps", None)
    return {} if own is None else own(space)


@torch.no_grad()
def settle(part: Relaxation, alphas: dict[str, Tensor], before: Alphas, ctx: Context) -> None:
    """Let a relaxation follow up an outer step, in place: in the alphas and in what is held.

    `before`: the alphas before the step; the context's stream gives the noise that the gates of the step had.
    """
    own = getattr(part, "settle", None)
    if own is not None:
        own(alphas, before, ctx)


def judged(part: Relaxation, alphas: Alphas, space: Space) -> Gates | None:
    """Return the gates by which a search is judged to have moved, where a relaxation or one inside it says so."""
    own, inside = getattr(part, "judged", None), getattr(part, "inside", None)
    return own(alphas, space) if own else None if inside is None else judged(inside, alphas, space)


def drawn(ctx: Context, part: object) -> torch.Generator:
    """Return the context's stream; raises ValueError where there is none to draw from."""
    if ctx.rng is None:
        raise ValueError(
            f"{type(part).__name__} needs a stream in its context: Context(space, rng=stream(seed, 'gates'))"
        )
    return ctx.rng


def relaxed(space: Space) -> tuple[Choice, ...]:
    """Return the choices whose options get alphas: of kinds `one` and `size`."""
    return tuple(c for c in space.choices if c.kind in ("one", "size"))


def open_gates(space: Space, like: Tensor) -> Gates:
    """Return all-ones gates for the choices of kind `some`: every candidate takes part, as in DARTS."""
    return Gates({c.name: torch.ones(len(c.options)).to(like) for c in space.choices if c.kind == "some"})


def entropy(gates: Mapping[str, Tensor], space: Space) -> float:
    """Return the mean entropy of the relaxed choices' gates, each divided by log(options): 1 uniform, 0 decided."""
    values = []
    for choice in relaxed(space):
        p = gates[choice.name].detach().double().clamp_min(0)
        p = p / p.sum().clamp_min(1e-30)
        values.append(float(torch.special.entr(p).sum()) / math.log(len(p)))
    return sum(values) / len(values) if values else 0.0
