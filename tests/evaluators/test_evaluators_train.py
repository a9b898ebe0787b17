"""Training from scratch: exact resume, drop-path, the auxiliary head, and what the loss may not become."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar import Architecture, OneOf
from mimar.core.errors import NonFiniteError, UsageError
from mimar.core.events import Record, Step
from mimar.core.optimisers import Sgd
from mimar.core.state import State
from mimar.core.streams import isolated, stream
from mimar.evaluators import Retrain, training
from mimar.evaluators.auxiliary import attach_auxiliary
from mimar.evaluators.drop_path import drop_paths
from mimar.evaluators.train import Job, network
from mimar.nets import darts
from mimar.supernet import chosen
from mimar.tasks import Augment, arrays
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import tiny_task

ARCH = Architecture({"body": "conv", "node": ("1", "2")})
FULL = Retrain(epochs=3, batch=16, drop_path=0.4, cutout=2)


def job(
    model: nn.Module | None = None, task: Any = None, architecture: Architecture = ARCH, label: str = "derived"
) -> Job:
    data = (task or tiny_task()).split(0)
    return Job(label, "retrain", "retrain", model or tiny_model().float(), architecture, data, seed=5)


def small_darts() -> tuple[nn.Module, Architecture]:
    with isolated(0):
        model = darts(cells=3, channels=2, classes=4, in_channels=1, nodes=2, affine=True)
    from mimar.space import of

    return model, of(model).sample(stream(0))


def finished(part: Retrain, what: Job, state: State) -> tuple[list[Any], State]:
    records = [e.data for e in training(part, what, state) if isinstance(e, Record)]
    return records, state


# --- resume ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tower", "auxiliary"])
def test_training_resumes_bit_for_bit_from_every_step(kind: str) -> None:
    if kind == "tower":
        part, what = FULL, job(task=replace(tiny_task(), augment=Augment(crop=1, flip=True, cutout=0)))
    else:
        model, arch = small_darts()
        part, what = Retrain(epochs=2, batch=24, auxiliary=0.4, drop_path=0.2), job(model, architecture=arch)
    straight, end = finished(part, what, State())
    kept, seen = [], 0
    state = State()
    for event in training(part, what, state):
        seen += isinstance(event, Record)
        if isinstance(event, Step):
            kept.append((seen, state.snapshot()))
    per_epoch = what.data.steps("fit", part.batch, drop_last=True)
    assert len(kept) == part.epochs * (per_epoch + 1)
    for before, snapshot in kept if kind == "tower" else kept[1::2]:
        rest, again = finished(part, what, State(json.loads(json.dumps(snapshot.json)), snapshot.tensors))
        assert straight[:before] + rest == straight
        assert again.tensors.keys() == end.tensors.keys()
        assert all(torch.equal(t, end.tensors[n]) for n, t in again.tensors.items())


def test_labels_and_seeds_have_streams_of_their_own() -> None:
    part = Retrain(epochs=1, batch=16)
    runs = [finished(part, w, State())[0][-1] for w in (job(), job(), job(label="random-0"), replace(job(), seed=6))]
    losses = [r["metrics"]["test_loss"] for r in runs]
    assert losses[0] == losses[1] and len(set(losses)) == 3


def test_training_learns_and_reports_the_plain_network() -> None:
    part = Retrain(epochs=12, batch=16, optimiser=Sgd(lr=0.1))
    layers = OneOf({"linear": nn.Linear(25, 16), "other": nn.Linear(25, 16)}, name="c")
    arch = Architecture({"c": "linear"})
    what = job(nn.Sequential(nn.Flatten(), layers, nn.BatchNorm1d(16), nn.Linear(16, 4)), architecture=arch)
    before = torch.random.get_rng_state()
    records, state = finished(part, what, State())
    assert torch.equal(before, torch.random.get_rng_state())
    epochs, last = records[:-1], records[-1]
    assert [r["epoch"] for r in epochs] == list(range(1, 13)) and {r["network"] for r in epochs} == {"derived"}
    assert epochs[-1]["train_loss"] < 0.5 * epochs[0]["train_loss"] and last["metrics"]["test_accuracy"] > 0.8
    net = network(what.model, arch, state.group("net"))
    assert last["metrics"]["params"] == sum(p.numel() for p in net.parameters())
    assert last["metrics"]["test_accuracy"] == what.data.evaluate(net, "test")["accuracy"]
    assert last["metrics"]["valid_loss"] == what.data.evaluate(net, "holdout")["loss"]
    assert last["budget"] == 3 * last["metrics"]["macs"] * part.steps(what.data) * part.batch
    assert last["architecture"] == {"c": "linear"}


def test_the_model_that_was_given_is_left_alone() -> None:
    model = tiny_model().float()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    finished(Retrain(epochs=1, batch=16), job(model), State())
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items()) and model.training


# --- drop-path ------------------------------------------------------------------------------------------------------


def dropping() -> tuple[nn.Module, Any]:
    model = nn.Sequential(OneOf({"a": nn.Hardtanh(-9, 9), "b": nn.Identity()}, name="c"))
    found = chosen(model, Architecture({"c": "a"}))
    return found.net.train(), drop_paths(found.edges)


def test_drop_path_keeps_the_mean_and_zeroes_whole_samples() -> None:
    net, drop = dropping()
    x = torch.ones(20_000, 2, 3)
    drop.start(0.3, noise=1)
    y = net(x)
    rows = y.flatten(1)
    assert bool((rows == rows[:, :1]).all())  # one coin a sample
    share = float((rows[:, 0] == 0).float().mean())
    assert share == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 20_000) ** 0.5)
    assert rows[:, 0].unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert float(y.mean()) == pytest.approx(1.0, abs=0.02)
    drop.start(0.3, noise=1)
    assert torch.equal(net(x), y)
    drop.start(0.3, noise=2)
    assert not torch.equal(net(x), y)


def test_drop_path_rests_in_evaluation_at_rate_nought_and_when_removed() -> None:
    net, drop = dropping()
    x = torch.ones(50, 2)
    assert torch.equal(net(x), x)
    drop.start(0.9, noise=1)
    assert torch.equal(net.eval()(x), x) and not torch.equal(net.train()(x), x)
    drop.remove()
    assert torch.equal(net(x), x) and not any(m._forward_hooks for m in net.modules())


def test_drop_path_spares_identities_and_drops_edges_independently() -> None:
    def model() -> nn.Module:
        options = [{"t": nn.Hardtanh(-9, 9), "i": nn.Identity()} for _ in range(2)]

        class Pair(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = (OneOf(o, name=f"c{i}") for i, o in enumerate(options))

            def forward(self, x: Tensor) -> Tensor:
                return torch.stack([self.a(x), self.b(x)])

        return Pair()

    x = torch.ones(4000, 1)
    found = chosen(model(), Architecture({"c0": "t", "c1": "i"}))
    drop = drop_paths(found.edges)
    drop.start(0.5, noise=0)
    first, second = found.net.train()(x)
    assert bool((first == 0).any()) and torch.equal(second, x)
    both = chosen(model(), Architecture({"c0": "t", "c1": "t"}))
    drop_paths(both.edges).start(0.5, noise=0)
    y = (both.net.train()(x) == 0).float().squeeze(-1)
    assert abs(float(torch.corrcoef(y)[0, 1])) < 0.1


def test_drop_path_grows_linearly_over_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    from mimar.evaluators.drop_path import DropPath

    original = DropPath.start
    monkeypatch.setattr(DropPath, "start", lambda self, rate, noise: (rates.append(rate), original(self, rate, noise)))
    finished(Retrain(epochs=4, batch=48, drop_path=0.4), job(), State())
    assert sorted(set(rates)) == pytest.approx([0.0, 0.1, 0.2, 0.3])


# --- the auxiliary head ---------------------------------------------------------------------------------------------


def test_the_auxiliary_head_changes_training_and_is_gone_afterwards() -> None:
    model, arch = small_darts()
    with_head, without = (
        finished(Retrain(epochs=1, batch=24, auxiliary=rate), job(model, architecture=arch), State())
        for rate in (0.4, 0.0)
    )
    assert with_head[1].tensors.keys() == without[1].tensors.keys() == {f"net/{n}" for n in network(
        model, arch, without[1].group("net")).state_dict()}  # fmt: skip
    assert with_head[0][-1]["metrics"]["params"] == without[0][-1]["metrics"]["params"]
    assert with_head[0][-1]["metrics"]["test_loss"] != without[0][-1]["metrics"]["test_loss"]
    loaded = network(model, arch, with_head[1].group("net"))
    assert not any(m._forward_hooks for m in loaded.modules())


def test_the_auxiliary_head_sees_the_tapped_module_until_it_is_removed() -> None:
    model, arch = small_darts()
    net = chosen(model, arch).net
    x = torch.randn(4, 1, 8, 8, generator=stream(0))
    head = attach_auxiliary(net, model, x, classes=4)
    assert net.training  # the probing pass in evaluation mode is undone
    net(x)
    seen = head.seen
    assert seen is not None and head(x).shape == (4, 4)
    head.remove()
    net(2 * x)
    assert head.seen is seen and not any(m._forward_hooks for m in net.modules())


def test_a_network_without_a_tap_refuses_the_head() -> None:
    with pytest.raises(UsageError, match="auxiliary_tap"):
        finished(Retrain(epochs=1, batch=16, auxiliary=0.4), job(), State())


# --- what can go wrong ----------------------------------------------------------------------------------------------


class Explodes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / torch.zeros_like(x)


def test_a_loss_that_is_not_finite_is_named() -> None:
    model = nn.Sequential(OneOf({"bad": Explodes(), "good": nn.Identity()}, name="c"), nn.Flatten(), nn.Linear(25, 4))
    what = job(model, architecture=Architecture({"c": "bad"}))
    with pytest.raises(
        NonFiniteError, match="training loss of derived became nan in epoch 1, step 1; lower the learning"
    ):
        finished(Retrain(epochs=1, batch=16), what, State())


def test_a_learning_rate_that_diverges_is_named() -> None:
    part = Retrain(epochs=30, batch=16, optimiser=Sgd(lr=1e38, clip=0.0))
    model = nn.Sequential(OneOf({"i": nn.Identity(), "t": nn.Tanh()}, name="c"), nn.Flatten(), nn.Linear(25, 4))
    with pytest.raises(NonFiniteError, match=r"learning rate \(now 1e\+38\)"):
        finished(part, job(model, architecture=Architecture({"c": "i"})), State())


def test_options_out_of_range_are_refused() -> None:
    for key, value in (("epochs", 0), ("batch", 1), ("drop_path", 1.5), ("cutout", -1), ("auxiliary", 2.0)):
        with pytest.raises(UsageError, match=f"Retrain.{key} is"):
            Retrain(**{key: value})  # type: ignore[arg-type]


def test_a_batch_larger_than_the_split_is_one_sentence() -> None:
    x, y = torch.zeros(20, 1, 5, 5), torch.arange(20) % 4
    x[:, 0, 0, 0] = y
    with pytest.raises(Exception, match="smaller batch"):
        finished(Retrain(epochs=1, batch=64), job(task=arrays(x, y)), State())
