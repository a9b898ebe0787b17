"""The other testers tested: each catches the error planted for it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar.core.streams import stream
from mimar.gradient.relax import Context, Softmax
from mimar.space import Architecture, Choice, Space, darts, nasbench201
from mimar.strategies import Proposal, Random, Trial
from mimar.strategies.random import RandomSearcher
from mimar.supernet import Fused, Reference, Supernet
from mimar.testing import check_relaxation, check_space, check_strategy, check_supernet, check_task
from mimar.testing.problems import tiny_batch, tiny_model
from mimar.testing.recipe import tiny_task
from mimar.testing.strategy import small_space

# --- supernets ------------------------------------------------------------------------------------------------------


class WritesBuffers(Supernet):
    def call(self, *args: Any, **more: Any) -> Any:
        y = super().call(*args, **more)
        for b in self.buffers:
            b.add_(1)
        return y


class GlobalNoise(Supernet):
    def call(self, *args: Any, **more: Any) -> Any:
        found = super().call(*args, **more)
        noise = 1e-9 * torch.randn(())
        return (found[0] + noise, found[1]) if more.get("update") else found + noise


class LeavesMode(Supernet):
    def call(self, *args: Any, training: bool = True, **more: Any) -> Any:
        self.model.train(not training)
        return super().call(*args, training=training, **more)


class DetachesGates(Supernet):
    def call(self, weights: Any, gates: Any, x: Any, **more: Any) -> Any:
        return super().call(weights, {n: g.detach() for n, g in gates.items()}, x, **more)


class HalvesGates(Supernet):
    def call(self, weights: Any, gates: Any, x: Any, **more: Any) -> Any:
        return super().call(weights, {n: 0.5 * g for n, g in gates.items()}, x, **more)


class FirstOrderOnly(Supernet):
    def call(self, *args: Any, **more: Any) -> Any:
        found = super().call(*args, **more)
        y = found[0] if more.get("update") else found
        if y.requires_grad:
            y.register_hook(lambda g: g.detach())
        return found


class ForgetsUpdate(Supernet):
    def call(self, *args: Any, update: bool = False, **more: Any) -> Any:
        y = super().call(*args, **more)
        return (y, tuple(b.clone() for b in self.buffers)) if update else y


class RunsAll(Supernet):
    def call(self, weights: Any, gates: Any, x: Any, **more: Any) -> Any:
        return super().call(weights, {n: g.clone().requires_grad_() for n, g in gates.items()}, x, **more)


class RunsAllUnwatched(Supernet):
    def call(self, weights: Any, gates: Any, x: Any, **more: Any) -> Any:
        if not any(m._forward_hooks for m in self.model.modules()):
            gates = {n: g.clone().requires_grad_() for n, g in gates.items()}
        return super().call(weights, gates, x, **more)


class NearlyRight(Supernet):
    def call(self, *args: Any, **more: Any) -> Any:
        found = super().call(*args, **more)
        return ((1 + 1e-8) * found[0], found[1]) if more.get("update") else (1 + 1e-8) * found


class LosesPrecision(Supernet):
    def call(self, weights: Any, *args: Any, **more: Any) -> Any:
        coarse = weights[0].dtype == torch.float32
        return super().call([w + 1e-3 * w.detach() if coarse else w for w in weights], *args, **more)


class CountsTwice(Supernet):
    """The statistics that come back are those of a call that saw the batch twice."""

    def call(self, *args: Any, **more: Any) -> Any:
        found = super().call(*args, **more)
        if not more.get("update") or not more.get("training", True):
            return found
        return found[0], super().call(*args, **{**more, "buffers": found[1]})[1]


SUPERNETS = {
    WritesBuffers: "changed the buffer",
    GlobalNoise: "torch's global generator",
    LeavesMode: "another mode",
    DetachesGates: "first derivative of the call in the gates",
    HalvesGates: "beside the extracted network",
    FirstOrderOnly: "second derivative",
    ForgetsUpdate: "although batch norm saw a batch",
    NearlyRight: r"the output at mixed gates in training \(float64\) differs from that of the reference",
    LosesPrecision: r"at mixed gates in training \(float32\) differs",
    CountsTwice: "the buffers at mixed gates in training",
}


@pytest.mark.parametrize("build", SUPERNETS, ids=lambda c: c.__name__)
def test_planted_supernets_are_caught(build: Any) -> None:
    with pytest.raises(AssertionError, match=SUPERNETS[build]):
        check_supernet(tiny_model(), tiny_batch()[0], build=build)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (RunsAll, "ran 1 times although its gate is zero"),
        (RunsAllUnwatched, "with NaN in what options of gate zero hold"),
    ],
)
def test_options_run_for_nothing_are_caught(build: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_supernet(nn.Sequential(nn.Linear(2, 2), tiny_choice()), torch.ones(3, 2), build=build)


@pytest.mark.parametrize("engine", [Reference(), Fused()], ids=["reference", "fused"])
def test_a_sum_that_forgets_a_term_is_caught(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(engine.begin(tiny_model(), {}, update=False))
    monkeypatch.setattr(kind, "some", lambda self, choice, xs: choice.candidates[2](xs[2]))
    with pytest.raises(AssertionError):
        check_supernet(tiny_model(), tiny_batch()[0], build=partial(Supernet, engine=engine))


def test_extraction_that_aliases_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(2, 2), tiny_choice())

    def aliased(net: nn.Module, architecture: Architecture, **_: Any) -> nn.Module:
        return nn.Sequential(net[0], net[1].candidates[net[1].options.index(architecture["c"])])

    monkeypatch.setattr("mimar.testing.supernet.extract", aliased)
    with pytest.raises(AssertionError, match="shares the memory of 0.weight"):
        check_supernet(model, torch.ones(3, 2))


def tiny_choice() -> nn.Module:
    from mimar import OneOf

    return OneOf({"a": nn.Linear(2, 2), "b": nn.Sequential(nn.Tanh(), nn.Linear(2, 2))}, name="c")


# --- relaxations ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scaled(Softmax):
    """A softmax of which something is changed afterwards."""

    def gates(self, alphas: Any, ctx: Context) -> Any:
        return {n: self.change(g, alphas.get(n), ctx) for n, g in super().gates(alphas, ctx).items()}

    def change(self, gate: Tensor, alpha: Any, ctx: Context) -> Tensor:
        return gate


class TooMuch(Scaled):
    def change(self, gate: Tensor, alpha: Any, ctx: Context) -> Tensor:
        return 1.01 * gate


class FavoursTheFirst(Scaled):
    def change(self, gate: Tensor, alpha: Any, ctx: Context) -> Tensor:
        return gate if alpha is None else torch.softmax(alpha + torch.arange(len(alpha)), 0)


class Detached(Scaled):
    def change(self, gate: Tensor, alpha: Any, ctx: Context) -> Tensor:
        return gate.detach()


class WrongSlope(Scaled):
    def change(self, gate: Tensor, alpha: Any, ctx: Context) -> Tensor:
        return gate + 0.1 * (gate - gate.detach())


class IgnoresTemperature(Scaled):
    def change(self, gate: Tensor, alpha: Any, ctx: Context) -> Tensor:
        return gate if alpha is None else torch.softmax(alpha, 0)


class Jitters(Scaled):
    def change(self, gate: Tensor, alpha: Any, ctx: Context) -> Tensor:
        return gate + 1e-9 * torch.rand(())


class Short(Scaled):
    def change(self, gate: Tensor, alpha: Any, ctx: Context) -> Tensor:
        return gate[:-1]


RELAXATIONS = {
    TooMuch: "sum to 1.01",
    FavoursTheFirst: "in reverse order",
    Detached: "not differentiable",
    WrongSlope: "a central difference gives",
    IgnoresTemperature: "at temperature 0.001",
    Jitters: "torch's global generator",
    Short: r"the shape \(2,\); it has 3 options",
}


@pytest.mark.parametrize("part", RELAXATIONS, ids=lambda c: c.__name__)
def test_planted_relaxations_are_caught(part: Any) -> None:
    with pytest.raises(AssertionError, match=RELAXATIONS[part]):
        check_relaxation(part())


def test_what_is_not_promised_is_not_asked() -> None:
    class Doubled(Scaled):
        def change(self, gate: Tensor, alpha: Any, ctx: Context) -> Tensor:
            return 2 * gate

        temperature = property(lambda self: (_ for _ in ()).throw(AttributeError))  # type: ignore[assignment]

    with pytest.raises(AssertionError, match="pass simplex=False"):
        check_relaxation(TooMuch(), equivariant=False)


# --- spaces ---------------------------------------------------------------------------------------------------------


class TwoAtOnce(Space):
    def neighbours(self, arch: Architecture) -> list[Architecture]:
        near = super().neighbours(arch)
        further = [o for o in super().neighbours(near[0]) if o != arch and o not in near]
        return [*near, *further[:1]]


class Miscounts(Space):
    def size(self) -> int | float:
        return super().size() - 1


class Wanders(Space):
    def canonical(self, arch: Architecture) -> Architecture:
        return self.neighbours(arch)[0]


class Invalid(Space):
    def mutate(self, arch: Architecture, rng: torch.Generator) -> Architecture:
        return Architecture({**arch, "op": "none of these"})


class Restless(Space):
    def sample(self, rng: torch.Generator) -> Architecture:
        return super().sample(torch.default_generator)


class Third(Space):
    def crossover(self, a: Architecture, b: Architecture, rng: torch.Generator) -> Architecture:
        return super().sample(rng)


SPACES = {
    TwoAtOnce: "must be exactly one",
    Miscounts: r"enumerate gives .* architectures",
    Wanders: "canonical is not idempotent",
    Invalid: "mutate gave an architecture that is not of the space",
    Restless: "sample gave different architectures under the same stream",
    Third: "as neither parent did",
}


def test_spaces_pass() -> None:
    check_space(small_space())
    check_space(darts(nodes=2), samples=4)


@pytest.mark.parametrize("kind", SPACES, ids=lambda c: c.__name__)
def test_planted_spaces_are_caught(kind: Any) -> None:
    with pytest.raises(AssertionError, match=SPACES[kind]):
        check_space(kind(small_space().choices), samples=6)


def test_a_digest_that_depends_on_hashing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Architecture, "digest", property(lambda self: f"{hash(self):x}"))
    with pytest.raises(AssertionError, match="digests must not depend on hashing"):
        check_space(nasbench201(), samples=2)


# --- strategies -----------------------------------------------------------------------------------------------------


class Searching(RandomSearcher):
    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        return super().ask(n, pending)


class Forgetful(Searching):
    def load_state_dict(self, state: Any) -> None:
        pass


class Greedy(Searching):
    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        return super().ask(n + 1, pending)


class Meddling(Searching):
    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            trial.result.metrics["seen"] = 1.0  # type: ignore[index]


class Hashing(Searching):
    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        self.seed = hash("seed")
        return super().ask(n, pending)


@dataclass(frozen=True)
class Planted:
    """A strategy by the searcher it starts."""

    searcher: type[RandomSearcher]

    def start(self, space: Space, seed: int) -> RandomSearcher:
        return self.searcher(space, seed)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Forgetful, "after its state went through JSON"),
        (Greedy, "gave 2 proposals"),
        (Meddling, "tell changed the trials"),
        (Hashing, "another sequence in another process"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_planted_strategies_are_caught(kind: type[RandomSearcher], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_strategy(Planted(kind))


def test_random_search_passes() -> None:
    check_strategy(Random())


# --- tasks ----------------------------------------------------------------------------------------------------------


class Spoiled:
    """A right task whose bound form has one thing replaced."""

    def __init__(self, **replaced: Any) -> None:
        self.inner, self.replaced = tiny_task(), replaced

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def split(self, seed: int) -> Any:
        bound = copy.copy(self.inner.split(seed))
        for name, make in self.replaced.items():
            object.__setattr__(bound, name, make(bound, seed))
        return bound


def overlap(bound: Any, seed: int) -> dict[str, Tensor]:
    return bound.index | {"valid": torch.cat([bound.index["valid"][1:], bound.index["train"][:1]])}


def leak(bound: Any, seed: int) -> dict[str, Tensor]:
    return bound.index | {"test": torch.cat([bound.index["test"], bound.index["train"][:2]])}


def moving_test(bound: Any, seed: int) -> dict[str, Tensor]:
    return bound.index | {"test": bound.index["test"][seed % 2 :]}


def sorted_by_class(bound: Any, seed: int) -> dict[str, Tensor]:
    order = torch.cat([bound.index["train"], bound.index["valid"]])
    order = order[torch.argsort(bound.data.y[order], stable=True)]
    return bound.index | {"train": order[:32], "valid": order[32:]}


def unshuffled(bound: Any, seed: int) -> Any:
    original = type(bound).batches
    return lambda split, rng, **more: original(bound, split, None, **{**more, "augment": None})


def start_ignored(bound: Any, seed: int) -> Any:
    original = type(bound).batches
    return lambda split, rng, **more: original(bound, split, rng, **{**more, "start": 0})


def no_loss(bound: Any, seed: int) -> Any:
    return lambda forward, batch: torch.zeros(())


def percent(bound: Any, seed: int) -> Any:
    original = type(bound).evaluate
    return lambda forward, split, **more: {n: 100 * v for n, v in original(bound, forward, split, **more).items()}


def constant_loss(bound: Any, seed: int) -> Any:
    return lambda forward, batch: 0.0 * forward(batch.x).sum()


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"index": overlap}, "do not cover the same"),
        ({"index": leak}, "2 samples of the test split"),
        ({"index": moving_test}, "the test split depends on the seed"),
        ({"index": sorted_by_class}, "splits must be stratified"),
        ({"batches": unshuffled}, "must be shuffled"),
        ({"batches": start_ignored}, "from start=2"),
        ({"loss": constant_loss}, "cannot be differentiated"),
        ({"evaluate": percent}, "the fraction 'accuracy'"),
    ],
    ids=lambda v: getattr(next(iter(v.values())), "__name__", "") if isinstance(v, dict) else "",
)
def test_planted_tasks_are_caught(replaced: dict[str, Any], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_task(Spoiled(**replaced), size=4)


def test_the_right_task_passes() -> None:
    check_task(tiny_task(), size=4)
    assert not torch.equal(tiny_task(0).data.x, tiny_task(1).data.x)
    assert stream(0, "a").initial_seed() != stream(0, "b").initial_seed()


def test_choices_reach_the_kit() -> None:
    assert {c.kind for c in small_space().choices} == {"one", "size", "some"}
    assert any(isinstance(c, Choice) and c.when for c in small_space().choices)
