"""Contracted graphs, the Weisfeiler-Lehman kernel on them, and the Gaussian process with either kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mimar.core.errors import DataError, UsageError
from mimar.core.streams import Draws
from mimar.predictors.gaussian import GaussianProcess
from mimar.predictors.graphs import Contracted, contracted, has_graph, unread
from mimar.predictors.laplacian import Laplacian
from mimar.predictors.parts import Array
from mimar.predictors.weisfeiler_lehman import Motifs, WeisfeilerLehman
from mimar.space import NASBENCH201_EDGES, Architecture, Choice, NasBench201, Space, darts, nasbench201

CELLS = nasbench201()


def cell(*operations: str) -> Architecture:
    """Return a cell by the first letters of its operations: none, skip, 1×1, 3×3, pool."""
    words = {"n": "none", "s": "skip_connect", "1": "nor_conv_1x1", "3": "nor_conv_3x3", "p": "avg_pool_3x3"}
    return Architecture({f"cell/{i}-{j}": words[o] for (i, j), o in zip(NASBENCH201_EDGES, operations[0], strict=True)})


def drawn(space: Space, n: int, seed: int = 0) -> list[Architecture]:
    draws = Draws(seed, "drawn")
    return [space.sample(draws) for _ in range(n)]


def graph(arch: Architecture) -> Contracted:
    return contracted(NasBench201(), arch)


def kernel(part: WeisfeilerLehman, space: Space = CELLS) -> Motifs:
    found = part.start(space)
    assert isinstance(found, Motifs)
    return found


# --- graphs -------------------------------------------------------------------------------------------------------


def test_skips_are_contracted_and_zeros_and_dead_ends_removed() -> None:
    one = graph(cell("nnn3nn"))  # edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3
    assert one == Contracted(("input", "nor_conv_3x3", "output"), ((1,), (2,), ()))
    assert graph(cell("s3n1ss")) == Contracted(
        ("input", "nor_conv_3x3", "nor_conv_1x1", "output"), ((1, 2, 3), (3,), (3,), ())
    )
    assert graph(cell("3pn1nn")) == graph(cell("nnn1nn"))  # what leads nowhere is dead
    assert graph(cell("nnnnnn")) == Contracted(("input", "output"), ((), ()))
    assert graph(cell("nnnsnn")) == Contracted(("input", "output"), ((1,), ()))
    assert graph(cell("3n1nnn")).labels == ("input", "output")


def test_cells_of_a_graph_are_told_apart() -> None:
    space = darts()
    for arch in drawn(space, 5):
        found = contracted(space.structure, arch)  # type: ignore[arg-type]
        assert {label[:2] for label in found.labels} == {"0:", "1:"}
        assert not any("skip_connect" in label for label in found.labels)
        assert found.labels.count("1:input1") == 1 and found.labels[-1] == "1:output"


def test_dead_edges_change_nothing() -> None:
    for arch in drawn(CELLS, 300):
        assert graph(CELLS.simplify(arch)) == graph(arch)


def test_the_space_has_so_many_classes_and_motifs() -> None:
    bags = kernel(WeisfeilerLehman(depth=3, neighbours="inputs")).bags
    seen = {tuple(tuple(sorted(zip(*map(list, level), strict=True))) for level in bags(a)) for a in CELLS.enumerate()}
    assert (len(seen), len(bags.motifs)) == (5257, 7499)


# --- the kernel -----------------------------------------------------------------------------------------------------


def test_the_kernel_by_hand() -> None:
    motifs = kernel(WeisfeilerLehman(depth=2))
    first, second = motifs.fit([cell("nnn3nn"), cell("nnn1nn")])
    assert first[0, 1] == pytest.approx(3 / 6)  # input, output, output before nothing
    assert second[0, 1] == pytest.approx(4 / 9)
    assert kernel(WeisfeilerLehman(depth=0)).fit([cell("nnn3nn"), cell("nnn1nn")])[0][0, 1] == pytest.approx(2 / 3)
    assert motifs.bags.name(motifs.columns[1][0]) == "input before nor_conv_3x3"


def test_matching_by_hand() -> None:
    two, one = cell("3nn3sn"), cell("nnn3nn")  # two parallel convolutions, and one
    (count,) = kernel(WeisfeilerLehman(depth=0)).fit([two, one])
    (assigned,) = kernel(WeisfeilerLehman(depth=0, matching="assignment")).fit([two, one])
    assert count[0, 1] == pytest.approx(4 / np.sqrt(6 * 3))
    assert assigned[0, 1] == pytest.approx(3 / np.sqrt(4 * 3))


PARTS = [
    WeisfeilerLehman(),
    WeisfeilerLehman(neighbours="inputs"),
    WeisfeilerLehman(matching="assignment"),
    WeisfeilerLehman(depth=0),
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("space", [CELLS, darts(nodes=3)], ids=["nasbench201", "darts"])
def test_it_is_symmetric_and_positive(part: WeisfeilerLehman, space: Space) -> None:
    archs = drawn(space, 60)
    motifs = kernel(part, space)
    for k, gram in enumerate(motifs.fit(archs)):
        assert np.allclose(gram, gram.T, atol=1e-15) and np.allclose(np.diag(gram), 1.0)
        assert np.linalg.eigvalsh(gram).min() > -1e-8
        assert np.allclose(motifs.cross(archs[:5], k), gram[:5], atol=1e-14)
        assert 0.0 <= gram.min() and gram.max() <= 1 + 1e-12


@pytest.mark.parametrize("part", PARTS)
def test_it_does_not_know_the_numbers_of_nodes(part: WeisfeilerLehman) -> None:
    bags, draws = kernel(part).bags, Draws(0, "order")
    for arch in drawn(CELLS, 20):
        given = graph(arch)
        order = draws.sample(len(given.labels), len(given.labels))
        place = {old: new for new, old in enumerate(order)}
        moved = Contracted(
            tuple(given.labels[old] for old in order),
            tuple(tuple(sorted(place[b] for b in given.after[old])) for old in order),
        )
        for one, two in zip(bags.count(given), bags.count(moved), strict=True):
            assert dict(zip(*map(list, one), strict=True)) == dict(zip(*map(list, two), strict=True))


def test_what_can_be_told_apart_is_less_than_one() -> None:
    chain, swapped, same = cell("3n1nn3"), cell("1n3nn3"), cell("3p1nn3")
    for gram in kernel(WeisfeilerLehman()).fit([chain, swapped, same, cell("3n1pn3")]):
        assert gram[0, 1] < 1 - 1e-6 and gram[0, 3] < 1 - 1e-6
    assert kernel(WeisfeilerLehman(depth=0)).fit([chain, swapped])[0][0, 1] == pytest.approx(1.0)


def test_choices_that_no_graph_shows_count_too() -> None:
    lr = Choice("recipe/lr", (0.001, 1.0), "value", log=True)
    space = Space([*CELLS.choices, lr], structure=NasBench201())
    assert unread(space) == ("recipe/lr",) and unread(CELLS) == ()
    slow, fast = (Architecture({**cell("33n3nn"), "recipe/lr": v}) for v in (0.001, 1.0))
    gram = kernel(WeisfeilerLehman(), space).fit([slow, fast])[0]
    assert gram[0, 1] == pytest.approx(np.exp(-1 / 0.5))


def test_motifs_have_names() -> None:
    motifs = kernel(WeisfeilerLehman(depth=2, neighbours="inputs"))
    motifs.fit([cell("31nnnn"), cell("3n1nn3")])
    names = [name for name, _ in motifs.described(1)]
    assert "nor_conv_3x3 after input" in names
    assert "nor_conv_1x1 after (nor_conv_3x3 after input)" in names
    twice = kernel(WeisfeilerLehman(depth=0, matching="assignment"))
    twice.fit([cell("3nn3sn")])
    assert "nor_conv_3x3, 2 times" in [name for name, _ in twice.described(0)]


# --- the process ----------------------------------------------------------------------------------------------------


def fitted(part: GaussianProcess, space: Space = CELLS, n: int = 40, seed: int = 0):  # type: ignore[no-untyped-def]
    archs = drawn(space, n, seed)
    y = np.random.default_rng(seed).normal(size=n) + [3.0 * sum(v == "nor_conv_3x3" for v in a.values()) for a in archs]
    model = part.start(space, 0)
    model.fit(archs, y)
    return model, archs, y


@pytest.mark.parametrize("part", [GaussianProcess(), GaussianProcess(Laplacian())])
def test_it_is_the_textbook_s(part: GaussianProcess) -> None:
    model, archs, y = fitted(part)
    others = drawn(CELLS, 10, seed=9)
    chosen = model.fitted
    cost: dict[tuple[int, float], float] = {}
    target = (y - y.mean()) / y.std()
    grams = model.similarity.fit(archs)
    for k, gram in enumerate(grams):
        for noise in np.geomspace(1e-5, part.noise, 13):
            full = gram + noise * np.eye(40)
            cost[k, float(noise)] = 0.5 * target @ np.linalg.solve(full, target) + 0.5 * np.linalg.slogdet(full)[1]
    assert min(cost, key=cost.__getitem__) == (chosen.setting, chosen.noise)
    assert chosen.cost == pytest.approx(min(cost.values()))
    factor = np.linalg.cholesky(grams[chosen.setting] + chosen.noise * np.eye(40))
    cross = model.similarity.cross(others, chosen.setting)
    mean, std = model.predict(others)
    half = np.linalg.solve(factor, cross.T)
    assert np.allclose(mean, y.mean() + y.std() * half.T @ np.linalg.solve(factor, target))
    assert np.allclose(std, y.std() * np.sqrt(1 - (half**2).sum(0)))
    assert mean.dtype == std.dtype == np.float64


def test_it_knows_what_it_was_told() -> None:
    space = Space([Choice("op", ("a", "b", "c", "d"))])
    archs = [Architecture({"op": o}) for o in "abc"]
    model = GaussianProcess(noise=1e-5).start(space, 0)
    model.fit(archs, [1.0, 2.0, 4.0])
    mean, std = model.predict([*archs, Architecture({"op": "d"})])
    assert np.allclose(mean[:3], [1.0, 2.0, 4.0], atol=1e-3) and std[:3].max() < 0.01 < std[3]


def test_the_order_and_the_past_do_not_matter() -> None:
    model, archs, y = fitted(GaussianProcess())
    before = model.predict(archs)
    model.fit(archs[::2], y[::2])
    model.fit(archs, y)
    assert all(np.array_equal(a, b) for a, b in zip(model.predict(archs), before, strict=True))
    model.fit(archs[::-1], y[::-1])
    assert np.allclose(model.predict(archs)[0], before[0])


@pytest.mark.parametrize("beside", [False, True])
def test_the_slopes_are_those_of_finite_differences(beside: bool) -> None:
    lr = [Choice("recipe/lr", (0.001, 1.0), "value")] if beside else []
    space = Space([*CELLS.choices, *lr], structure=NasBench201())
    model, archs, _ = fitted(GaussianProcess(WeisfeilerLehman(depth=1)), space)
    motifs, f = model.similarity, model.fitted
    assert isinstance(motifs, Motifs)
    phi, shared = motifs.features(f.setting), motifs.beside.own() if motifs.beside else np.ones((40, 40))

    def mean(row: Array, a: int) -> float:
        k = phi @ row / (np.linalg.norm(phi, axis=1) * np.linalg.norm(row)) * shared[a]
        return float(k @ f.weights)

    slopes = motifs.slopes(f.weights, f.setting)
    assert np.isclose(mean(phi[3], 3) * f.scale.std + f.scale.mean, model.predict([archs[3]])[0][0])
    for a in (0, 3, 17):
        for j in range(phi.shape[1]):
            step = 1e-6 * (np.arange(phi.shape[1]) == j)
            numeric = (mean(phi[a] + step, a) - mean(phi[a] - step, a)) / 2e-6
            assert slopes[a, j] == pytest.approx(numeric, abs=1e-8)
    effects = {e.name: e for e in model.explain()}
    names = [name for name, _ in motifs.described(f.setting)]
    assert effects[names[5]].effect == pytest.approx(f.scale.std * slopes[:, 5].mean())
    assert effects["input"].times == 40


def test_it_finds_the_motif_that_helps() -> None:
    archs = drawn(CELLS, 120)
    graphs = [graph(a) for a in archs]
    worth = [
        sum(g.labels[u] == "output" and g.labels[v] == "avg_pool_3x3" for v, near in enumerate(g.after) for u in near)
        for g in graphs
    ]
    model = GaussianProcess(WeisfeilerLehman(depth=1)).start(CELLS, 0)
    model.fit(archs, worth)
    assert next(e.name for e in model.explain() if e.times >= 10) == "avg_pool_3x3 before output"


def test_without_graphs_it_compares_decisions_and_has_no_motifs() -> None:
    space = Space([Choice("op", ("a", "b")), Choice("width", (1, 2, 3), "size")])
    assert not has_graph(space)
    model = GaussianProcess().start(space, 0)
    with pytest.raises(DataError, match="before it was fitted"):
        model.predict([])
    model.fit(drawn(space, 5), [1.0, 2.0, 3.0, 4.0, 5.0])
    assert model.predict(drawn(space, 4))[0].shape == (4,)
    with pytest.raises(UsageError, match="no motifs"):
        model.explain()


def test_it_ranks_cells_far_better_than_their_size(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    from scipy.stats import kendalltau

    from mimar.evaluators import benchmarks

    table = benchmarks.named("nasbench201:epochs=200")
    archs, everything = list(table.rows.architectures), np.arange(15625)
    test, macs = (table.lookup(everything, name) for name in ("test_accuracy", "macs"))
    found = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(15625)
        fit, held = order[:100], order[100:2100]
        model = GaussianProcess().start(table.space, 0)
        model.fit([archs[i] for i in fit], -np.log(1 - test[fit]))
        mean, _ = model.predict([archs[i] for i in held])
        found.append([kendalltau(mean, test[held])[0], kendalltau(macs[held], test[held])[0]])
    ours, size = np.mean(found, axis=0)
    assert ours > 0.72
    assert 0.5 < size < 0.6
