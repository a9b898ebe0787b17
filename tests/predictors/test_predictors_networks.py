"""Networks as predictors: directed graph convolutions, and two heads on an encoder that knows the costs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mimar.core.errors import DataError
from mimar.core.streams import Draws, isolated
from mimar.predictors.graph_network import Batch, Encoder, GraphNetwork, Net, batch
from mimar.predictors.graphs import Contracted
from mimar.predictors.shared_encoder import SharedEncoder
from mimar.space import Architecture, Choice, NasBench201, Space, darts, nasbench201

CELLS = nasbench201()
WEIGHT = {"none": 0.0, "skip_connect": 1.0, "nor_conv_1x1": 2.0, "nor_conv_3x3": 10.0, "avg_pool_3x3": 3.0}
SMALL = GraphNetwork(layers=2, channels=16, head=8, epochs=20)


def drawn(space: Space, n: int, seed: int = 0) -> list[Architecture]:
    draws = Draws(seed, "drawn")
    return [space.sample(draws) for _ in range(n)]


def costs(arch: Architecture) -> dict[str, float]:
    """Return made-up costs, linear in the options."""
    total = sum(WEIGHT.get(str(v), 0.0) for v in arch.values())
    return {"macs": 1e6 * total, "params": 100.0 * total + 7.0}


def net(labels: int = 3) -> Net:
    with isolated(0):
        return Net(GraphNetwork(channels=12, head=5), labels).double().eval()


def doubled(given: Batch) -> Batch:
    return Batch(*(t.double() for t in given))


# --- graphs -------------------------------------------------------------------------------------------------------

GRAPH = Contracted(("in", "op", "op", "out"), ((1, 2, 3), (3,), (3,), ()))
NUMBER = {"in": 0, "op": 1, "out": 2}


def test_a_batch_by_hand() -> None:
    found = batch([GRAPH, Contracted(("in", "new"), ((1,), ()))], NUMBER)
    assert found.labels[0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert torch.allclose(found.forth[0, 0], torch.full((4,), 0.25)) and found.forth[0, 1].tolist() == [0, 0.5, 0, 0.5]
    assert torch.allclose(found.back[0, 3], torch.full((4,), 0.25)) and found.back[0, 0].tolist() == [1, 0, 0, 0]
    assert found.share.tolist() == [[0.25] * 4, [0.5, 0.5, 0, 0]]
    assert found.labels[1].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]  # a label without number is nothing


def test_one_layer_is_the_formula() -> None:
    given, layer = doubled(batch([GRAPH], NUMBER)), net().layers[0]
    a = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=torch.float64)
    x = given.labels[0]
    forth, back = a + torch.eye(4), a.T + torch.eye(4)
    forth, back = forth / forth.sum(1, keepdim=True), back / back.sum(1, keepdim=True)
    expected = 0.5 * (torch.relu(forth @ x @ layer.forth) + torch.relu(back @ x @ layer.back))  # type: ignore[operator]
    assert torch.allclose(layer(given.labels, given.forth, given.back)[0], expected, atol=1e-12)


def test_the_numbers_of_nodes_do_not_matter() -> None:
    order = [2, 0, 3, 1]
    given, order_t = doubled(batch([GRAPH], NUMBER)), torch.tensor([2, 0, 3, 1])
    moved = Batch(
        given.labels[:, order],
        given.forth[:, order_t][:, :, order_t],
        given.back[:, order_t][:, :, order_t],
        given.share[:, order],
    )
    assert torch.allclose(net()(given), net()(moved), atol=1e-12)


def test_reversed_edges_swap_the_weights() -> None:
    given, ours, swapped = doubled(batch([GRAPH], NUMBER)), net(), net()
    for layer in swapped.layers:
        layer.forth, layer.back = layer.back, layer.forth
    back = Contracted(GRAPH.labels, GRAPH.before)
    assert torch.allclose(ours(doubled(batch([back], NUMBER))), swapped(given), atol=1e-12)
    assert not torch.allclose(ours(doubled(batch([back], NUMBER))), ours(given), atol=1e-6)


def test_what_fills_a_batch_up_does_not_count() -> None:
    big = Contracted(("in", *["op"] * 6, "out"), (*[(i + 1,) for i in range(7)], ()))
    alone, beside = doubled(batch([GRAPH], NUMBER)), doubled(batch([GRAPH, big], NUMBER))
    assert torch.allclose(net()(alone)[0], net()(beside)[0], atol=1e-12)


def test_decisions_that_no_graph_shows_are_nodes_beside_it() -> None:
    space = Space([Choice("op", ("a", "b")), Choice("in", ("0", "1", "2"), "some", 2)])
    arch = Architecture({"op": "b", "in": ("0", "2")})
    assert Encoder(space, "contracted").read(arch) == Contracted(("op = b", "in = 0", "in = 2"), ((1, 2), (2,), ()))
    joint = Space([*CELLS.choices, Choice("lr", ("low", "high"))], structure=NasBench201())
    found = Encoder(joint, "contracted").read(Architecture({**CELLS.sample(Draws(0)), "lr": "low"}))
    assert found.labels[-1] == "lr = low" and not any(len(found.labels) - 1 in near for near in found.after)
    whole = Encoder(CELLS, "whole").read(CELLS.sample(Draws(0)))
    assert len(whole.labels) == 8


@pytest.mark.parametrize("space", [CELLS, darts(nodes=2)], ids=["nasbench201", "darts"])
def test_it_learns_and_repeats_itself(space: Space) -> None:
    archs, others = drawn(space, 60), drawn(space, 30, seed=1)

    def worth(arch: Architecture) -> float:
        return sum("conv" in str(v) for v in arch.values())

    y = [worth(a) for a in archs]
    model = SMALL.start(space, 5)
    model.fit(archs, y)
    mean, std = model.predict(others)
    assert np.corrcoef(mean, [worth(a) for a in others])[0, 1] > (0.8 if space is CELLS else 0.5)
    assert mean.dtype == np.float64 and not std.any()
    state = torch.random.get_rng_state()
    again = SMALL.start(space, 5)
    again.fit(archs[:20], y[:20])
    again.fit(archs, y)
    assert np.array_equal(again.predict(others)[0], mean)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.predict([])[0].shape == (0,)


def test_members_disagree() -> None:
    archs = drawn(CELLS, 30)
    model = GraphNetwork(layers=1, channels=8, head=4, epochs=3, members=3).start(CELLS, 0)
    model.fit(archs, [costs(a)["params"] for a in archs])
    assert model.predict(archs)[1].min() > 0


def test_the_first_stage_throws_out_what_fails() -> None:
    archs = drawn(CELLS, 120)
    good = [sum(v == "none" for v in a.values()) < 2 for a in archs]
    y = [90.0 + sum(v == "nor_conv_3x3" for v in a.values()) if g else 10.0 for a, g in zip(archs, good, strict=True)]
    part = GraphNetwork(layers=2, channels=24, head=8, epochs=30, split=50.0, graph="whole")
    model = part.start(CELLS, 0)
    model.fit(archs, y)
    mean, _ = model.predict(archs)
    assert np.mean((mean == 10.0) == ~np.array(good)) > 0.95
    assert mean[mean > 10.0].min() > 85
    model.fit([a for a, g in zip(archs, good, strict=True) if g], [v for v in y if v > 50])  # nothing fails: no sieve
    assert model.predict(archs)[0].min() > 50
    with pytest.raises(DataError, match="before it was fitted"):
        part.start(CELLS, 0).predict(archs)


# --- two heads ----------------------------------------------------------------------------------------------------


def test_the_encoder_learns_the_costs() -> None:
    model = SharedEncoder(unlabelled=300, before=40).start(CELLS, 0)
    with pytest.raises(DataError, match="never told"):
        model.predict_costs(drawn(CELLS, 3))
    model.inform(costs)
    archs = drawn(CELLS, 100, seed=1)
    found = model.predict_costs(archs)
    for name in ("macs", "params"):
        truth = [costs(a)[name] for a in archs]
        assert np.corrcoef(found[name], truth)[0, 1] > 0.98
        assert abs(np.mean(found[name]) / np.mean(truth) - 1) < 0.1


@pytest.mark.parametrize(("frozen", "same"), [(1.0, True), (0.5, False)])
def test_a_held_encoder_forgets_nothing(frozen: float, same: bool) -> None:
    model = SharedEncoder(unlabelled=100, before=10, epochs=10, frozen=frozen).start(CELLS, 0)
    model.inform(costs)
    archs = drawn(CELLS, 40)
    before = model.predict_costs(archs)["macs"]
    model.fit(archs, np.random.default_rng(0).normal(size=40))
    assert np.array_equal(model.predict_costs(archs)["macs"], before) == same


def test_costs_help_where_labels_are_few() -> None:
    archs, others = drawn(CELLS, 12), drawn(CELLS, 200, seed=1)
    y = [costs(a)["macs"] for a in archs]
    ranks = []
    for told in (False, True):
        model = SharedEncoder(unlabelled=200, before=40, epochs=60).start(CELLS, 0)
        if told:
            model.inform(costs)
        model.fit(archs, y)
        ranks.append(np.corrcoef(model.predict(others)[0], [costs(a)["macs"] for a in others])[0, 1])
    assert ranks[1] > 0.9 > ranks[0]


def test_how_to_train_goes_to_the_second_head_alone() -> None:
    lr = Choice("lr", (0.0, 1.0), "value")
    space = Space([Choice("net/op", ("a", "b", "c")), Choice("recipe/optimiser", ("sgd", "adam")), lr])
    model = SharedEncoder(unlabelled=50, before=10, epochs=120).start(space, 0)
    assert {c.choice for c in model.beside.names} == {"recipe/optimiser", "lr"}
    model.inform(lambda a: {"macs": float("abc".index(a["net/op"]))})
    archs = drawn(space, 60)
    model.fit(archs, [a["lr"] + (a["recipe/optimiser"] == "adam") for a in archs])
    pair = [Architecture({"net/op": "a", "recipe/optimiser": o, "lr": 0.5}) for o in ("sgd", "adam")]
    sgd, adam = model.predict(pair)[0]
    assert adam - sgd == pytest.approx(1.0, abs=0.2)
    one, other = model.predict_costs(pair)["macs"]
    assert one == other


def test_it_repeats_itself_and_its_members_disagree() -> None:
    archs = drawn(CELLS, 20)
    y = [costs(a)["macs"] for a in archs]
    found = []
    for _ in range(2):
        model = SharedEncoder(unlabelled=20, before=2, epochs=5, members=2).start(CELLS, 1)
        model.inform(costs)
        model.fit(archs[:5], y[:5])
        model.fit(archs, y)
        found.append(model.predict(archs))
    assert all(np.array_equal(a, b) for a, b in pairwise(f[0] for f in found))
    assert found[0][1].min() > 0


def test_a_graph_network_ranks_cells_better_than_their_size(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    from scipy.stats import kendalltau

    from mimar.evaluators import benchmarks

    table = benchmarks.named("nasbench201:epochs=200")
    archs = list(table.rows.architectures)
    test = table.lookup(np.arange(15625), "test_accuracy")
    order = np.random.default_rng(0).permutation(15625)
    fit, held = order[:100], order[100:1100]
    model = GraphNetwork(epochs=20).start(table.space, 0)
    model.fit([archs[i] for i in fit], test[fit])
    assert kendalltau(model.predict([archs[i] for i in held])[0], test[held])[0] > 0.68
