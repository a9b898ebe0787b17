"""The facts of the smaller benchmark tables, and what their spaces mean."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from mimar.core.errors import DataError, SpaceError, UsageError
from mimar.core.streams import Draws
from mimar.evaluators import benchmarks
from mimar.evaluators.table import Table
from mimar.evaluators.tables import nasbench_graph
from mimar.evaluators.tables.nasbench_graph import LAYERS, LINKS, OPERATIONS
from mimar.recipes import local_search
from mimar.space import Architecture, Proposal
from mimar.tasks import locate
from mimar.testing import check_evaluator

FILES = {
    "nasbench-macro": "nasbench_macro.npz",
    "nasbench-graph": "nasbenchgraph.npz",
    "spikenas": "spikenas_curves.npz",
    "nas-bench-nlp": "nbnlp_wikitext2.json.gz",
    "ec-nas": "ecnas_nb101_small.npz",
    "fcnet": "fcnet_hpo.npz",
}

Named = Callable[[str], Table]


@pytest.fixture
def named(needs_data: Callable[[str], Path]) -> Named:
    def found(text: str) -> Table:
        needs_data(f"nas/{FILES[text.partition(':')[0]]}")
        return benchmarks.named(text)

    return found


def measured(table: Table, arch: Architecture, fidelity: float | None = None) -> dict[str, float]:
    return dict(table.evaluate(Proposal(arch), fidelity).metrics)


@pytest.mark.parametrize("name", FILES)
def test_they_keep_the_laws_of_evaluators(name: str, named: Named) -> None:
    check_evaluator(named(name), elsewhere=name == "nas-bench-nlp")
    assert {m.unit for m in named(name).measures} <= {"fraction", "1", "s", "kWh", "nats"}


@pytest.mark.parametrize("name", FILES)
def test_a_search_without_a_budget_ends(name: str, named: Named) -> None:
    table = named(name)
    assert table.budget is not None
    result = local_search.recipe(task=table, queries=20, baseline=3).run()
    assert table.space.valid(result.architecture) and table.measures[0].name in result.metrics


# --- nasbench-macro -----------------------------------------------------------------------------------------------------


def test_macro_facts(named: Named) -> None:
    table = named("nasbench-macro")
    accuracy = 100 * table.lookup(np.arange(6561), "accuracy")
    assert [round(float(v), 2) for v in (accuracy.max(), accuracy.mean(), accuracy.min())] == [93.13, 90.25, 45.36]
    best = table.rows.architectures[int(accuracy.argmax())]
    options = ("identity", "mbconv3_e3", "mbconv5_e6")
    assert [options.index(best[f"layer{i}"]) for i in range(8)] == [2, 2, 2, 1, 2, 2, 0, 2]
    assert table.verdict(best)["test_accuracy"] == pytest.approx(measured(table, best)["accuracy"])
    plain = Architecture({f"layer{i}": "identity" for i in range(8)})
    assert table.costs(plain) == {"params": 387_882.0, "flops": 7_713_280.0}
    one = named("nasbench-macro:seeds=one")
    drawn = {one.evaluate(Proposal(plain), rng=Draws(0, i)).metrics["accuracy"] for i in range(40)}
    assert drawn == {0.4532, 0.4533, 0.4544} and one.verdict(plain) == table.verdict(plain)


# --- nasbench-graph -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "valid", "test", "best"),
    [
        ("cora", 0.8193, 0.8080, 0.8313),
        ("citeseer", 0.7280, 0.7103, None),
        ("pubmed", 0.8113, 0.7560, None),
        ("arxiv", 0.7367, 0.7195, None),
    ],
)
def test_graph_facts(data: str, valid: float, test: float, best: float | None, named: Named) -> None:
    table = named(f"nasbench-graph:data={data}")
    rows = np.arange(26_206)
    figures = table.lookup(rows, "valid_accuracy")
    top = int(figures.argmax())
    assert len(table) == 26_206 and round(float(figures.max()), 4) == valid
    assert round(table.verdict(table.rows.architectures[top])["test_accuracy"], 4) == test
    assert best is None or round(float(table.lookup(rows, "test_accuracy").max()), 4) == best
    assert {m.name: m.unit for m in table.measures[1:]} == {"params": "1", "latency": "s"}


def graph(link: str, *ops: str) -> Architecture:
    return Architecture({"link": link, **dict(zip(LAYERS, ops, strict=True))})


def test_every_combination_but_four_skips_is_a_network_of_the_table(named: Named) -> None:
    table = named("nasbench-graph")
    rng = Draws(0, "graph")
    for _ in range(400):
        arch = graph(rng.choice(LINKS), *(rng.choice(OPERATIONS) for _ in LAYERS))
        assert (table.row(arch) is not None) == table.space.valid(arch)
        assert table.row(arch) == table.row(table.space.canonical(arch))
    for link in LINKS:
        arch = graph(link, *["skip"] * 4)
        assert table.row(arch) is None and not table.space.valid(arch)
        assert table.evaluate(Proposal(arch)).status == "infeasible"
    for row in range(0, 26_206, 97):  # every row is canonical itself
        arch = table.rows.architectures[row]
        assert table.space.canonical(arch) == arch and table.row(arch) == row


def test_the_links_are_the_rooted_trees_of_five_nodes() -> None:
    def shape(link: tuple[int, ...], node: int = 0) -> str:
        return "(" + "".join(sorted(shape(link, i) for i in range(1, 5) if link[i - 1] == node)) + ")"

    every = {shape(link) for link in itertools.product(*[range(i) for i in range(1, 5)])}
    ours = [shape(tuple(map(int, link))) for link in LINKS]
    assert len(ours) == len(set(ours)) == 9 and set(ours) == every


def test_skips_that_do_nothing_go_to_the_front() -> None:
    canonical = nasbench_graph.Layers().canonical
    chain = graph("0123", "skip", "gcn", "gat", "fc")
    for place in range(4):  # in a chain a skip does nothing wherever it is
        ops = ["gcn", "gat", "fc"]
        ops.insert(place, "skip")
        assert canonical(graph("0123", *ops)) == chain
    assert canonical(graph("0111", "gcn", "sage", "gat", "fc")) == graph("0111", "gcn", "gat", "sage", "fc")
    leaf = graph("0011", "gcn", "gat", "skip", "fc")  # beside another leaf a skip hands on what it stands on
    assert canonical(leaf)["op1"] == "gcn" and "skip" in canonical(leaf).values()


def test_a_graph_network_has_codes() -> None:
    layers = nasbench_graph.Layers()
    arch = graph("0112", "gcn", "gin", "fc", "cheb")
    labels, edges = layers.graph(arch)
    assert labels == ["input", "gcn", "gin", "fc", "cheb", "output"]
    assert sorted(edges) == [(0, 1), (1, 2), (1, 3), (2, 4), (3, 5), (4, 5)]
    assert layers.ungraph((labels, edges)) == arch
    assert len(layers.paths(arch)) == 2 and max(layers.paths(arch)) < layers.path_count == 7380
    with pytest.raises(SpaceError, match="no network of this space"):
        layers.ungraph((labels, [(0, 1)]))
    with pytest.raises(SpaceError, match="not an architecture of the NAS-Bench-Graph space"):
        layers.canonical(Architecture({"a": "b"}))


# --- spikenas -----------------------------------------------------------------------------------------------------------


def test_spikenas_facts(named: Named) -> None:
    table = named("spikenas")
    rows = np.arange(15_625)
    final = table.lookup(rows, "valid_accuracy")
    assert int(final.argmax()) == 12_807 and round(100 * float(final.max()), 2) == 88.93
    for epochs, rank in ((1, 0.311), (10, 0.656), (25, 0.804), (50, 0.932)):
        assert round(spearmanr(table.lookup(rows, "valid_accuracy", float(epochs)), final)[0], 3) == rank
    arch = table.rows.architectures[12_807]  # 12807 = 2 + 1·5 + 2·25 + 2·125 + 0·625 + 4·3125
    digits = [
        ("none", "skip_connect", "spike_conv_low", "spike_conv_middle", "spike_conv_high").index(o)
        for o in arch.values()
    ]
    assert list(arch) == ["cell/0-1", "cell/0-2", "cell/0-3", "cell/1-2", "cell/1-3", "cell/2-3"]
    assert sum(d * 5**k for k, d in enumerate(digits)) == 12_807


def test_spikenas_curves_go_on(named: Named) -> None:
    table = named("spikenas")
    arch = table.rows.architectures[12_807]
    assert len(table.fidelities) == 18 and table.unit == "epochs" and table.resumes
    whole, part = table.evaluate(Proposal(arch)), table.evaluate(Proposal(arch, 10.0))
    assert (whole.cost, part.cost) == (100.0, 10.0)
    assert len(whole.curve) == 18 and list(part.curve) == list(whole.curve)[:7]
    assert dict(table.verdict(arch)) == {}
    result = local_search.recipe(task=table, queries=9, baseline=0).run()
    assert result.baseline["random"]["n"] == 0


# --- nas-bench-nlp ------------------------------------------------------------------------------------------------------


def test_nlp_facts(named: Named) -> None:
    table = named("nas-bench-nlp")
    assert len(table) == 289 and int(np.isfinite(table.measured[0].values[:, -1]).sum()) == 341  # four diverged
    best = Architecture({"recipe": "1000001"})
    result = table.evaluate(Proposal(best))
    assert min(result.curve) == 4.5676 and round(float(np.exp(min(result.curve))), 1) == 96.3
    assert result.metrics["valid_loss"] == 4.5695 == table.lookup(np.arange(289), "valid_loss").min()
    assert table.verdict(best) == {"test_loss": 4.5208} and len(result.curve) == 50
    assert table.measures[0] == ("valid_loss", "min", "nats") and table.final[0].measure.direction == "min"
    first = table.evaluate(Proposal(Architecture({"recipe": "1000000"}), 1.0))
    assert first.cost == pytest.approx(140.68) and first.metrics == {"valid_loss": 5.6807, "params": 15_066_078.0}


def test_nlp_repeated_trainings(named: Named) -> None:
    arch = Architecture({"recipe": "1001441"})
    one, mean = named("nas-bench-nlp:seeds=one"), named("nas-bench-nlp")
    results = [one.evaluate(Proposal(arch), rng=Draws(0, i)) for i in range(30)]
    assert {r.metrics["valid_loss"] for r in results} == {7.1997, 7.1832, 7.2208}
    assert all(r.curve[-1] == r.metrics["valid_loss"] for r in results)
    assert measured(mean, arch)["valid_loss"] == pytest.approx((7.1997 + 7.1832 + 7.2208) / 3)


def test_nlp_recipes_are_graphs(named: Named) -> None:
    space = named("nas-bench-nlp").space
    arch = Architecture({"recipe": "1000000"})  # f = linear(x, h_prev_0), h_new_0 = tanh(f)
    labels, edges = space.structure.graph(arch)
    assert labels[:5] == ["h_prev_0", "x", "linear", "activation_tanh", "h_new_0"] and set(labels[5:]) == {"none"}
    assert sorted(edges) == [(0, 2), (1, 2), (2, 3), (3, 4)]
    graphs = space.encode(list(space.enumerate()), "graph")
    assert graphs.labels.shape == (289, 22) and len(space.structure.paths(arch)) == 2
    assert all((m.triu(1) == m).all() for m in graphs.adjacency[:, 4:, 4:])  # operations after those they take
    for text in ("1000000", "1000001", "1001441"):
        one = Architecture({"recipe": text})
        assert space.structure.ungraph(space.structure.graph(one)) == one
    with pytest.raises(SpaceError, match="not one of the 289 recorded recipes"):
        space.structure.graph(Architecture({"recipe": "7"}))
    with pytest.raises(SpaceError, match="no recorded recipe"):
        space.structure.ungraph((["x"], []))


# --- ec-nas -------------------------------------------------------------------------------------------------------------


def published_hash(adjacency: np.ndarray, labels: list[int]) -> str:
    """The graph hash of NAS-Bench-101, by its description: rounds of MD5 over sorted neighbours."""
    n = len(labels)
    md5 = lambda text: hashlib.md5(text.encode()).hexdigest()
    marks = [md5(str((int(adjacency[v].sum()), int(adjacency[:, v].sum()), labels[v]))) for v in range(n)]
    for _ in range(n):
        into = ["".join(sorted(marks[w] for w in range(n) if adjacency[w, v])) for v in range(n)]
        out = ["".join(sorted(marks[w] for w in range(n) if adjacency[v, w])) for v in range(n)]
        marks = [md5(f"{into[v]}|{out[v]}|{marks[v]}") for v in range(n)]
    return md5(str(sorted(marks)))


def test_ec_nas_rows_are_the_classes_of_the_published_hash(named: Named) -> None:
    table = named("ec-nas")
    with np.load(locate.find("ec-nas"), allow_pickle=False) as held:
        hashes = [bytes(row).hex() for row in held["hash"]]
        small = int((held["nv"] <= 4).sum())
    assert len(table) == 2532 == len(set(hashes)) and small == 91
    labels = {"input": -1, "output": -2, "conv3x3-bn-relu": 0, "conv1x1-bn-relu": 1, "maxpool3x3": 2}
    rng = Draws(0, "cells")
    for _ in range(300):  # any graph of the space has the row of its hash
        arch = table.space.sample(rng)
        names, edges = table.space.structure.graph(arch)
        living = [k for k, name in enumerate(names) if name != "none"]
        matrix = np.zeros((5, 5), dtype=int)
        for i, j in edges:
            matrix[i, j] = 1
        found = published_hash(matrix[np.ix_(living, living)], [labels[names[k]] for k in living])
        row = table.row(arch)
        assert row is not None and hashes[row] == found
    assert table.space.size() == 22_680


def test_ec_nas_measures(named: Named) -> None:
    table = named("ec-nas")
    assert {m.name: (m.direction, m.unit) for m in table.measures} == {
        "valid_accuracy": ("max", "fraction"),
        "energy": ("min", "kWh"),
        "params": ("min", "1"),
        "predicted_energy": ("min", "kWh"),
    }
    valid = table.lookup(np.arange(2532), "valid_accuracy")
    assert round(float(valid.max()), 3) == 0.770
    arch = table.rows.architectures[int(valid.argmax())]
    part, whole = table.evaluate(Proposal(arch), 2.0), table.evaluate(Proposal(arch))
    assert whole.cost == 2 * part.cost and whole.metrics["energy"] == 2 * part.metrics["energy"] and table.resumes
    assert set(table.costs(arch)) == {"params", "predicted_energy"} and list(table.verdict(arch)) == ["test_accuracy"]


# --- fcnet --------------------------------------------------------------------------------------------------------------


def test_fcnet_facts(named: Named) -> None:
    for data, least in (("protein", 0.2214), ("slice", 1.916e-4)):
        table = named(f"fcnet:data={data}")
        loss = table.lookup(np.arange(62_208), "valid_mse")
        assert loss.min() == least and [m[:2] for m in table.measures] == [
            ("valid_mse", "min"),
            ("valid_mse_std", "min"),
        ]
        assert table.fidelities == () and table.unit == "s" and dict(table.verdict(table.rows.architectures[0])) == {}
    first = named("fcnet").rows.architectures[0]
    assert dict(first) == {
        "activation_fn_1": "relu",
        "activation_fn_2": "relu",
        "batch_size": 8,
        "dropout_1": 0.0,
        "dropout_2": 0.0,
        "init_lr": 0.0005,
        "lr_schedule": "cosine",
        "n_units_1": 16,
        "n_units_2": 16,
    }
    assert named("fcnet").evaluate(Proposal(first)).cost == 482.0
    assert {c.name for c in named("fcnet").space if c.kind == "size"} == {"batch_size", "n_units_1", "n_units_2"}
    result = local_search.recipe(task="fcnet", queries=150, baseline=0).run()
    assert result.metrics["valid_mse"] < 0.26  # it goes down, not up


# --- what is wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_told_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / FILES[name]).write_bytes(b"\x1f\x8b nothing")
    monkeypatch.setenv("MIMAR_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"{FILES[name]} cannot be read as"):
        benchmarks.named(name)


def test_wrong_options_are_told() -> None:
    for text, says in (
        ("fcnet:data=naval", "data of fcnet is 'naval'; it must be 'protein' or 'slice'"),
        ("nasbench-graph:data=coral", "it must be 'cora' or 'citeseer' or 'pubmed' or 'arxiv'"),
        ("spikenas:epochs=3", "unknown option of spikenas 'epochs'; there is none"),
        ("nasbench-macr", "unknown benchmark 'nasbench-macr'; did you mean 'nasbench-macro'"),
    ):
        with pytest.raises(UsageError, match=says):
            benchmarks.named(text)
