"""The tester of relaxations tested: each law catches the error planted for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from mimar.gradient.relax import Categorical, Context, GumbelHard, Softmax, keeps
from mimar.gradient.relax.sampling import gumbel
from mimar.testing import check_relaxation


@dataclass(frozen=True)
class NoisyAtTheEnd(Softmax):
    def gates(self, alphas: Any, ctx: Context) -> Any:
        noise = 0.0 if ctx.rng is None else gumbel(torch.zeros(()), ctx.rng)
        return super().gates({n: a * (1 + 1e-3 * noise) for n, a in alphas.items()}, ctx)


@dataclass(frozen=True)
class FullButIdle(GumbelHard):
    def gates(self, alphas: Any, ctx: Context) -> Any:
        found = super().gates(alphas, ctx)
        soft = Softmax().gates(alphas, ctx)
        return type(found)(soft, found.active)


@dataclass(frozen=True)
class AllIdle(GumbelHard):
    def gates(self, alphas: Any, ctx: Context) -> Any:
        found = super().gates(alphas, ctx)
        for name in alphas:
            found.active[name] = (False,) * len(found[name])
        return found


@dataclass(frozen=True)
class StraightThrough(GumbelHard):
    """The form with a gradient for every gate, which belongs to no option that ran."""

    def gates(self, alphas: Any, ctx: Context) -> Any:
        found = super().gates(alphas, ctx)
        for name, active in found.active.items():
            soft = torch.softmax(alphas[name], 0)
            found[name] = torch.tensor(active).double() + (soft - soft.detach())
        return found


@dataclass(frozen=True)
class WrongLog(Categorical):
    def gates(self, alphas: Any, ctx: Context) -> Any:
        found = super().gates(alphas, ctx)
        if ctx.training:
            ctx.memo["logprob"] = {n: torch.softmax(a, 0).max().log() for n, a in alphas.items()}
        return found


@dataclass(frozen=True)
class WritesHeld(Softmax):
    def gates(self, alphas: Any, ctx: Context) -> Any:
        for tensor in ctx.held.values():
            tensor.add_(1)
        return super().gates(alphas, ctx)

    def keeps(self, space: Any) -> dict[str, Tensor]:
        return {"count": torch.zeros(())}


@dataclass(frozen=True)
class SettlesByChance(Softmax):
    def keeps(self, space: Any) -> dict[str, Tensor]:
        return {"count": torch.zeros(())}

    def settle(self, alphas: Any, before: Any, ctx: Context) -> None:
        ctx.held["count"].fill_(id(ctx) % 10007)


@dataclass(frozen=True)
class MovesThePast(Softmax):
    def settle(self, alphas: Any, before: Any, ctx: Context) -> None:
        next(iter(before.values())).add_(1)


@dataclass(frozen=True)
class Forgets(SettlesByChance):
    def settle(self, alphas: Any, before: Any, ctx: Context) -> None:
        ctx.held.clear()


@dataclass(frozen=True)
class SpoilsAlphas(Softmax):
    def settle(self, alphas: Any, before: Any, ctx: Context) -> None:
        for alpha in alphas.values():
            alpha.mul_(torch.nan)


@dataclass(frozen=True)
class WrongInTraining(Softmax):
    def gates(self, alphas: Any, ctx: Context) -> Any:
        found = super().gates(alphas, ctx)
        if ctx.training:
            found["a"] = found["a"] + 0.1 * (found["a"] - found["a"].detach())
        return found


@dataclass(frozen=True)
class AwakeCategorical(Categorical):
    def gates(self, alphas: Any, ctx: Context) -> Any:
        return dict(super().gates(alphas, ctx))


PLANTED = {
    NoisyAtTheEnd: "for evaluation under another stream, or none",
    FullButIdle: "what does not run must have 0",
    AllIdle: "one of them must run",
    StraightThrough: "depend on the alphas",
    WrongLog: "the logprob of",
    WritesHeld: "changed count, which it keeps",
    SettlesByChance: "settle asked again",
    MovesThePast: "changed the former alpha a",
    Forgets: "changed the names of what it keeps",
    SpoilsAlphas: "not finite",
}


@pytest.mark.parametrize("part", PLANTED, ids=lambda c: c.__name__)
def test_planted_relaxations_are_caught(part: Any) -> None:
    with pytest.raises(AssertionError, match=PLANTED[part]):
        check_relaxation(part())


def test_a_wrong_derivative_in_training_is_caught_where_it_is_promised() -> None:
    check_relaxation(WrongInTraining())
    with pytest.raises(AssertionError, match="a central difference gives"):
        check_relaxation(WrongInTraining(), pathwise=True)


def test_a_part_that_is_not_what_it_should_be_is_caught() -> None:
    with pytest.raises(AssertionError, match="the tensors differ"):
        check_relaxation(Softmax(temperature=0.9), same=Softmax())
    with pytest.raises(AssertionError, match="other options are active"):
        check_relaxation(AwakeCategorical(), same=Categorical())


def test_parts_without_a_memory_keep_nothing() -> None:
    from mimar.testing.relaxation import SPACE

    assert keeps(Softmax(), SPACE) == {}
