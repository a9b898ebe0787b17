"""Derivations beside `Strongest`: the law of encodings, thresholds, and the perturbation of a supernet, kills included."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar.core.errors import UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.streams import stream
from mimar.gradient.derive import Perturbation, Strongest, Threshold, process
from mimar.space import S3, Architecture, Choice, OneOf, Space, darts, nasbench201
from mimar.supernet import Supernet

DERIVATIONS = [Strongest(), Threshold(), Threshold(0.3, empty=()), Perturbation(), Perturbation(inside=Threshold())]
F64 = torch.float64


def onehot(space: Space, arch: Architecture) -> dict[str, Tensor]:
    return {c.name: torch.zeros(len(c.options)) for c in space.choices} | space.gates(arch)


# --- laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", DERIVATIONS, ids=str)
@pytest.mark.parametrize("space", [darts(), darts(operations=S3), nasbench201()], ids=["darts", "s3", "nasbench201"])
def test_derivation_inverts_encoding(part: Any, space: Space) -> None:
    for seed in range(10):
        arch = space.sample(stream(seed))
        gates = onehot(space, arch)
        before = {name: gate.clone() for name, gate in gates.items()}
        assert part(space, gates) == arch
        assert all(torch.equal(gates[name], gate) for name, gate in before.items())


@pytest.mark.parametrize("part", DERIVATIONS, ids=str)
def test_derivations_are_architectures_of_the_space(part: Any) -> None:
    for space in (darts(), nasbench201()):
        for seed in range(5):
            gates = {c.name: torch.rand(len(c.options), generator=stream(seed, c.name)) for c in space.choices}
            space.check(part(space, gates))


def test_gates_of_edges_multiply_those_of_operations() -> None:
    """PC-DARTS: an edge with the strongest operation is left out where its own gate is small."""
    space = darts(nodes=2, operations=S3)
    gates = {c.name: torch.full((len(c.options),), 0.3) for c in space.choices}
    gates["normal/0-3"] = torch.tensor([0.0, 0.1, 0.9])
    gates["normal/node3"] = torch.tensor([0.1, 0.5, 0.4])
    for part in (Strongest(), Threshold(), Perturbation()):
        assert part(space, gates)["normal/node3"] == ("1", "2")  # 0.5·0.3 and 0.4·0.3 against 0.1·0.9
        assert part(space, gates | {"normal/node3": torch.ones(3) / 3})["normal/node3"] == ("0", "1")


# --- thresholds -----------------------------------------------------------------------------------------------------

SMALL = Space(
    [Choice("x", ("none", "a", "b")), Choice("y", ("none", "a", "b"), never=("none",)), Choice("z", ("a", "b"))]
)


@pytest.mark.parametrize(
    ("gate", "wanted"),
    [
        ((0.1, 0.9, 0.95), ("b", "b")),  # of several above the threshold the strongest
        ((0.99, 0.9, 0.1), ("a", "a")),  # none is taken only where nothing else is on
        ((0.2, 0.7, 0.6), ("none", "a")),  # nothing is on: none, or the strongest of all
        ((0.2, 0.85, 0.6), ("none", "a")),  # the threshold itself is not above the threshold
        ((0.2, 0.86, 0.6), ("a", "a")),
        ((0.0, 0.0, 0.0), ("none", "a")),
        ((-3.0, -2.0, -1.0), ("none", "a")),
    ],
)
def test_what_exceeds_the_threshold_is_taken(gate: tuple[float, ...], wanted: tuple[str, str]) -> None:
    row = torch.tensor(gate)
    found = Threshold()(SMALL, {"x": row, "y": row, "z": torch.tensor([0.2, 0.3])})
    assert (found["x"], found["y"], found["z"]) == (*wanted, "b")


def test_what_counts_as_empty_is_told() -> None:
    gates = {"x": torch.tensor([0.1, 0.2, 0.3]), "y": torch.tensor([0.1, 0.2, 0.3]), "z": torch.tensor([0.4, 0.3])}
    assert dict(Threshold(empty=("c", "b", "a"))(SMALL, gates)) == {"x": "b", "y": "b", "z": "b"}
    assert dict(Threshold(empty=())(SMALL, gates)) == {"x": "b", "y": "b", "z": "a"}
    assert dict(Threshold(0.15, empty=())(SMALL, gates)) == dict(Strongest()(SMALL, gates))
    with pytest.raises(UsageError, match="Threshold.threshold is 1.5"):
        Threshold(1.5)


def test_edges_with_something_on_come_first() -> None:
    """An edge that is empty is as strong as its gates are, not as a decided one."""
    edges = [Choice(f"e{i}", ("none", "a"), when=(("n", str(i)),)) for i in range(3)]
    space = Space([Choice("n", ("0", "1", "2"), "some", 2), *edges])
    gates = {
        "n": torch.ones(3),
        "e0": torch.tensor([0.1, 0.8]),
        "e1": torch.tensor([0.1, 0.9]),
        "e2": torch.tensor([0.1, 0.86]),
    }
    assert dict(Threshold()(space, gates)) == {"n": ("1", "2"), "e1": "a", "e2": "a"}
    assert dict(Threshold(0.87)(space, gates)) == {"n": ("1", "2"), "e1": "a", "e2": "none"}
    assert dict(Threshold(0.95)(space, gates)) == {"n": ("1", "2"), "e1": "none", "e2": "none"}


# --- perturbation ---------------------------------------------------------------------------------------------------


class Killed(Exception):
    """The process is gone."""


class Fake:
    """A bench whose supernet is a function of the gates; `alphas` moves with every epoch of tuning."""

    def __init__(
        self, space: Space, gates: Mapping[str, Tensor], value: Callable[[Mapping[str, Tensor]], float]
    ) -> None:
        self.space, self.start, self.value = space, dict(gates), value
        self.state: dict[str, Any] = {"held": {}, "epochs": 0, "tuning": 0, "tuned": []}
        self.asked: list[dict[str, list[float]]] = []

    @property
    def held(self) -> dict[str, Any]:
        return self.state["held"]

    @property
    def gates(self) -> dict[str, Tensor]:
        drift = self.state["epochs"]
        return {n: g * (1 + 0.01 * drift * torch.arange(len(g), dtype=F64)) for n, g in self.start.items()}

    def score(self, gates: Mapping[str, Tensor]) -> float:
        self.asked.append({name: gate.tolist() for name, gate in gates.items()})
        return self.value(gates)

    def tune(self, epochs: int, fixed: Mapping[str, Any]) -> Iterator[Event]:
        while self.state["tuning"] < epochs:
            self.state["tuning"] += 1
            self.state["epochs"] += 1
            yield Step("search", "tune", self.state["tuning"], epochs)
        self.state["tuning"] = 0
        self.state["tuned"].append(sorted(fixed))

    def rng(self, name: str, index: int = 0) -> torch.Generator:
        return stream(3, name, index)


def finished(part: Any, bench: Fake, kill: int = -1) -> tuple[Architecture, list[Event]]:
    """Run a derivation to its end; raise Killed after Step number `kill`, with the state as it is then saved."""
    events, run, steps = [], process(part, bench), 0
    while True:
        try:
            events.append(next(run))
        except StopIteration as end:
            return end.value, events
        if isinstance(events[-1], Step):
            steps += 1
            if steps - 1 == kill:
                bench.state = json.loads(json.dumps(bench.state, sort_keys=True))
                raise Killed


def random_bench(seed: int = 0, nodes: int = 3) -> Fake:
    """Return a bench on a DARTS space, with a score that all gates enter, products of two among them."""
    space = darts(nodes=nodes, operations=("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"))
    rng = stream(seed, "bench")
    gates = {
        c.name: torch.ones(len(c.options), dtype=F64)
        if c.kind == "some"
        else torch.softmax(torch.randn(len(c.options), generator=rng, dtype=F64), 0)
        for c in space.choices
    }
    size = sum(len(g) for g in gates.values())
    linear = torch.randn(size, generator=rng, dtype=F64)
    mixed = torch.randn(size, size, generator=rng, dtype=F64) / size

    def value(found: Mapping[str, Tensor]) -> float:
        x = torch.cat([found[name] for name in gates])
        return float(linear @ x + x @ mixed @ x)

    return Fake(space, gates, value)


def test_the_option_without_which_the_supernet_does_worst_is_kept() -> None:
    """By hand, in the order of the streams: remove each option, take the least score, fix, go on."""
    bench = random_bench()
    part = Perturbation(tune=0)
    found, _ = finished(part, bench)
    bench.space.check(found)
    gates, value, space = bench.gates, bench.value, bench.space
    ones = [c for c in space.choices if c.kind == "one"]
    for i in torch.randperm(len(ones), generator=bench.rng("choices")).tolist():
        choice, scores = ones[i], {}
        for option in choice.allowed:
            gate = gates[choice.name].clone()
            gate[choice.options.index(option)] = 0.0
            scores[option] = value(gates | {choice.name: gate})
        kept = min(scores, key=lambda o: scores[o])
        gates[choice.name] = torch.tensor([float(o == kept) for o in choice.options], dtype=F64)
    nodes = [c for c in space.choices if c.kind == "some" and len(c.options) > c.k]
    for i in torch.randperm(len(nodes), generator=bench.rng("candidates")).tolist():
        name = nodes[i].name
        while int(gates[name].sum()) > nodes[i].k:
            scores = {}
            for j in gates[name].nonzero().flatten().tolist():
                without = gates[name].clone()
                without[j] = 0.0
                scores[j] = value(gates | {name: without})
            gates[name][max(scores, key=lambda j: scores[j])] = 0.0
    assert found == Strongest()(space, gates) != part(space, bench.start)
    last = bench.asked[-1]
    assert all(sum(x != 0 for x in last[c.name]) == 1 for c in ones)  # exactly one gate an edge


def test_a_score_is_asked_for_every_option_that_may_be_derived() -> None:
    bench = random_bench()
    _, events = finished(Perturbation(tune=2), bench)
    steps = [e for e in events if isinstance(e, Step) and e.phase == "derive"]
    edges = 2 * (2 + 3 + 4)
    total = 3 * edges + 2 * (0 + 3 + 4 + 3)  # three operations an edge; nodes of 2, 3 and 4 candidates
    assert len(bench.asked) == steps[-1].done == steps[-1].total == total
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    decided = [e.data["choice"] for e in events if isinstance(e, Record)]
    assert len(decided) == len(set(decided)) == edges + 4  # nodes with two candidates have nothing to decide
    assert all(not name.partition("/")[2].startswith("node") for name in decided[:edges])
    assert decided[:edges] != [c.name for c in bench.space.choices if c.kind == "one"]  # at random
    assert bench.state["tuned"] == [sorted(decided[:n]) for n in range(1, len(decided))]  # after each but the last
    assert bench.state["epochs"] == 2 * (edges + 3)
    assert [s.boundary for s in steps] == ["score" not in s.figures for s in steps]


@pytest.mark.parametrize(
    "part", [Perturbation(tune=2), Perturbation(tune=0), Perturbation(tune=1, renormalise=True)], ids=str
)
def test_a_killed_process_goes_on_where_it_was(part: Perturbation) -> None:
    whole = random_bench(nodes=2)
    wanted, events = finished(part, whole)
    steps = sum(isinstance(e, Step) for e in events)
    assert steps > 30
    for kill in range(steps):
        bench = random_bench(nodes=2)
        with pytest.raises(Killed):
            finished(part, bench, kill)
        again = random_bench(nodes=2)
        again.state = bench.state
        found, rest = finished(part, again)
        assert found == wanted and again.state == whole.state
        assert bench.asked + again.asked == whole.asked  # nothing is measured twice
        assert sum(isinstance(e, Step) for e in rest) == steps - kill - 1


def test_a_process_killed_at_every_step_arrives() -> None:
    part, whole, bench = Perturbation(tune=1), random_bench(), random_bench()  # nodes that lose two candidates
    wanted, _ = finished(part, whole)
    for _ in range(1000):
        try:
            found, _ = finished(part, bench, 0)
            break
        except Killed:
            continue
    assert found == wanted and bench.state == whole.state


@pytest.mark.parametrize(
    ("renormalise", "wanted"),
    [
        (False, [[0.0, 0.3, 0.2], [0.5, 0.0, 0.2], [0.5, 0.3, 0.0]]),
        (True, [[0, 0.6, 0.4], [5 / 7, 0, 2 / 7], [0.625, 0.375, 0]]),
    ],
)
def test_gates_that_stay_can_be_scaled_to_the_whole(renormalise: bool, wanted: list[list[float]]) -> None:
    bench = Fake(
        Space([Choice("x", ("a", "b", "c"))]), {"x": torch.tensor([0.5, 0.3, 0.2], dtype=F64)}, lambda gates: 0.0
    )
    found, _ = finished(Perturbation(renormalise=renormalise), bench)
    assert [gates["x"] for gates in bench.asked] == [pytest.approx(row) for row in wanted]
    assert found["x"] == "a"  # ties go to the earlier option


def test_constraints_hold_whatever_is_missed() -> None:
    free = nasbench201()
    tied = Space(free.choices, constraints=(lambda arch: sum(v == "none" for v in arch.values()) == 0,))
    gates = {c.name: torch.ones(5, dtype=F64) / 5 for c in tied.choices}
    found, _ = finished(Perturbation(), Fake(tied, gates, lambda g: -float(sum(x[0] for x in g.values()))))
    tied.check(found)


def trained_edge() -> tuple[Supernet, Tensor, Tensor]:
    """Return a supernet with one edge between fixed ends: `signal` is what the data were made with, `noise` is not."""
    x = torch.randn(64, 3, generator=stream(0, "x"), dtype=F64)
    way = torch.randn(3, 3, generator=stream(1, "way"), dtype=F64)
    linear = {name: nn.Linear(3, 3, bias=False, dtype=F64) for name in ("signal", "noise")}
    with torch.no_grad():
        linear["signal"].weight.copy_(4 * way)
        linear["noise"].weight.copy_(0.1 * torch.randn(3, 3, generator=stream(2, "n"), dtype=F64))
    edge = OneOf({"skip": nn.Identity(), **linear}, name="edge")
    return Supernet(edge), x, x @ way.T


def test_magnitude_takes_the_skip_and_perturbation_the_signal() -> None:
    net, x, y = trained_edge()
    gates = {"edge": torch.tensor([0.5, 0.25, 0.25], dtype=F64)}  # the alphas favour the skip
    bench = Fake(net.space, gates, lambda g: -float((net.call(net.weights, g, x) - y).square().mean().detach()))
    part = Perturbation()
    assert part(net.space, gates)["edge"] == "skip"
    found, _ = finished(part, bench)
    assert found["edge"] == "signal"
    assert bench.state["tuned"] == []  # one choice: nothing is left to be asked after it
