"""How networks are trained, searched beside what they are: by trainings, and by steps of shared weights that are thrown away."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mimar import recipes
from mimar.core.errors import UsageError
from mimar.core.optimisers import Sgd
from mimar.core.state import State, moments
from mimar.core.streams import isolated, stream
from mimar.evaluators import Retrain, training
from mimar.evaluators.table import Table
from mimar.evaluators.train import Job
from mimar.evaluators.tuned import tuned
from mimar.gradient.regularise import WeightDecay
from mimar.search import OneShot, Trials
from mimar.search.lab import Lab
from mimar.search.losses import BatchLoss, Given
from mimar.search.weights import SharedWeights
from mimar.space import Architecture, Choice, OneOf, Space
from mimar.space.beside import network, recipe
from mimar.strategies import Random
from mimar.strategies.reinforce import Reinforce
from mimar.supernet import Gates
from mimar.testing import check_recipe
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import tiny_task

TUNE = "lr=0.01..0.5,decay=0|0.01,batch=8|16"
SHORT = Retrain(epochs=2, batch=16)


def metrics(part: Retrain, architecture: Architecture) -> dict[str, Any]:
    lab = Lab(tiny_model().float(), tiny_task(), 0, "cpu", recipe=tuned(TUNE))
    job = Job("random-0", "search", "", lab.final, architecture, lab.data, 0)
    return [e for e in training(part, job, State())][-1].data["metrics"]  # type: ignore[union-attr]


def test_a_training_is_the_one_that_was_decided() -> None:
    lab = Lab(tiny_model().float(), tiny_task(), 0, "cpu", recipe=tuned(TUNE))
    arch = lab.space.sample(stream(0, "tuned"))
    said = recipe(arch)
    plain = Retrain(epochs=2, batch=said["batch"], optimiser=Sgd(lr=said["lr"], decay=said["decay"]))
    assert metrics(SHORT, arch) == metrics(plain, network(arch)) != metrics(SHORT, network(arch))


@pytest.mark.parametrize("name", ["random", "regularized-evolution", "nas-bowl"])
def test_both_are_searched(name: str) -> None:
    given: dict[str, Any] = {"task": tiny_task(), "net": tiny_model().float(), "retrain": SHORT, "queries": 6}
    result = recipes.load(name)[1](**given, baseline=1, trials=Trials(tune=TUNE)).run()
    assert set(recipe(result.architecture)) == {"lr", "decay", "batch"} and result.model is not None
    assert result.data["evaluations"] == 7


def test_random_networks_have_random_trainings_too() -> None:
    found = recipes.load("local-search")[1](
        task=tiny_task(), net=tiny_model().float(), retrain=SHORT, queries=2, baseline=4, trials=Trials(tune=TUNE)
    )
    state = found.start()
    trained = [e.data for e in found.events(state) if getattr(e, "data", {}).get("event") == "trained"]
    rates = [t["architecture"]["recipe/lr"] for t in trained]
    assert len(trained) == 6 and len(set(rates)) > 3


def test_it_resumes_bit_for_bit() -> None:
    check_recipe("random", options={"queries": 3, "trials": Trials(tune=TUNE)}, stops=5)


def test_where_nothing_is_trained_nothing_is_tuned() -> None:
    table = Table.from_arrays(Space([Choice("a", ("x", "y"))]), {"valid_accuracy": [0.1, 0.2]})
    with pytest.raises(UsageError, match="on which nothing is trained: leave out tune="):
        recipes.load("random")[1](task=table, trials=Trials(tune=TUNE)).run()
    with pytest.raises(UsageError, match="the evaluator 'proxy:synflow' does none"):
        Trials(tune=TUNE, evaluator="proxy:synflow")


# --- shared weights -------------------------------------------------------------------------------------------------------


def shared(momentum: float = 0.9) -> tuple[Lab, State, SharedWeights]:
    lab, state = Lab(tiny_model().float(), tiny_task(), 0, "cpu"), State()
    return lab, state, SharedWeights(lab, state, Sgd(lr=0.1, momentum=momentum), 16)


def loss(lab: Lab, own: SharedWeights, at: int = 0) -> BatchLoss:
    batch = lab.data.sample("train", stream(0, "batch", at), size=16)
    path = lab.supernet.gates(lab.space.sample(stream(0, "path", at)))
    return BatchLoss(
        lab.supernet, Given(Gates(path)), (), lab.data, batch, own.buffers, (0, "inner", at), (WeightDecay(0.01),)
    )


def everything(own: SharedWeights) -> list[torch.Tensor]:
    return [t.clone() for t in (*own.weights, *own.buffers, *moments(own.sgd).values())]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_that_is_thrown_away_is_the_step(momentum: float) -> None:
    lab, _, own = shared(momentum)
    for at in range(3):
        before = everything(own)
        weights, buffers = own.tried(loss(lab, own, at), 0.2)
        assert same(before, everything(own))
        own.step(loss(lab, own, at), (), 0.2, at)
        assert same([*weights, *buffers], [*own.weights, *own.buffers]) and not same(before, everything(own))


def test_a_step_that_ruins_the_weights_is_undone() -> None:
    lab, state, own = shared()
    own.careful(loss(lab, own, 0), 0.01, 0)
    before = everything(own)
    own.careful(loss(lab, own, 1), 1e4, 1)
    assert same(before, everything(own))
    names = [n for g in ("weights", "buffers", "sgd") for n in state.group(g)]
    assert len(names) == len(before) and same(
        before, [t for g in ("weights", "buffers", "sgd") for t in state.group(g).values()]
    )
    other_lab, _, other = shared()  # and what follows is as if it had never been
    for at, rate in ((0, 0.01), (2, 0.02)):
        other.careful(loss(other_lab, other, at), rate, at)
    own.careful(loss(lab, own, 2), 0.02, 2)
    assert same(everything(own), everything(other))


class Mlp(nn.Module):
    """One hidden layer of 8 or 64."""

    def __init__(self) -> None:
        super().__init__()
        self.body = OneOf(
            {str(w): nn.Sequential(nn.Flatten(), nn.Linear(64, w), nn.ReLU(), nn.Linear(w, 10)) for w in (8, 64)},
            name="width",
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(x)
        return y


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_right_rates_become_probable(seed: int) -> None:
    """Catalogue D3: of 1e-5, 1e-3, 1e-1 and 10 the middle two together get more than 0.9 in 300 steps."""
    with isolated(seed):
        net = Mlp()
    search = recipes.load("autohas")[1](
        net=net,
        task="digits",
        seed=seed,
        epochs=10,
        queries=30,
        tune="lr=0.00001|0.001|0.1|10",
        baseline=0,
        retrain=SHORT,
    )
    state, lab = search.start(), search.lab()
    for _ in search.train(lab, SharedWeights(lab, state, search.inner, search.batch), state.json):
        pass
    law = search._searcher(lab, state.json).sampler.probabilities()["recipe/lr"]
    assert law[1] + law[2] > 0.9


def test_queries_leave_the_weights_alone_and_the_answer_is_the_policy_s() -> None:
    search = recipes.load("autohas")[1](
        net=tiny_model().float(), task=tiny_task(), epochs=1, queries=3, batch=16, baseline=0, retrain=SHORT
    )
    lab, state = search.lab(), search.start()
    own = SharedWeights(lab, state, search.inner, 16)
    own.step(loss(lab, own), (), 0.1, 0)
    before = everything(own)
    for at in range(3):
        assert set(search.measured(lab, own, lab.space.sample(stream(0, "query", at)), at)) == {"accuracy", "loss"}
    assert same(before, everything(own))
    result = search.run()
    assert set(recipe(result.architecture)) == {"lr", "decay"} and result.data["supernet"]["skips"] >= 0


def test_shared_weights_tune_what_a_step_shows() -> None:
    given: dict[str, Any] = {"name": "x", "inner": Sgd(), "terms": (), "epochs": 1, "retrain": SHORT}
    with pytest.raises(UsageError, match="unknown field of a training 'batch'"):
        OneShot(**given, candidates=1, strategy=Reinforce(), queries=1, tune="batch=8|16")
    for wrong in ({"tune": "lr=0.1|1", "candidates": 2}, {"candidates": 0}):
        with pytest.raises(UsageError, match="without a strategy there is nobody to tune"):
            OneShot(**given, **wrong)
    silent = OneShot(
        **given, candidates=0, strategy=Random(), queries=1, net=tiny_model().float(), task=tiny_task(), batch=16
    )
    with pytest.raises(UsageError, match="has no answer of its own: take candidates=1"):
        silent.start()
