"""Spaces: conditions, constraints, counting, enumeration, sampling, moves and gates."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter

import pytest
import torch

from mimar import space
from mimar.core.errors import SpaceError
from mimar.core.streams import stream
from mimar.space import Architecture, Choice, Space

TREE = Space(
    [
        Choice("kind", ("conv", "attention", "none"), never=("none",)),
        Choice("kernel", (3, 5, 7), "size", when=(("kind", "conv"),)),
        Choice("heads", (1, 2, 4, 8), "size", when=(("kind", "attention"),)),
        Choice("inputs", ("0", "1", "2"), "some", 2),
        Choice("gate", ("on", "off"), when=(("inputs", "2"), ("kind", "attention"))),
        Choice("depth", (1, 2), "size", when=(("gate", "on"),)),
    ]
)
SPACES = {
    "tree": TREE,
    "nasbench201": space.nasbench201(),
    "darts": space.darts(),
    "darts2": space.darts(nodes=2),
    "s1": space.darts(operations=space.S1),
    "s3": space.darts(operations=space.S3),
    "s4": space.darts(operations=space.S4),
    "constrained": Space(TREE.choices, [lambda arch: arch.get("kernel") != 5 and arch.get("depth") != 1]),
}


def brute_force(of: Space) -> set[Architecture]:
    """All architectures by trying every subset assignment of every choice, active or not."""
    found = set()
    for values in itertools.product(*([*c.outcomes, None] for c in of.choices)):
        arch = Architecture({c.name: v for c, v in zip(of.choices, values, strict=True) if v is not None})
        if of.valid(arch):
            found.add(arch)
    return found


def test_enumeration_equals_brute_force_and_size() -> None:
    for name in ("tree", "constrained"):
        listed = list(SPACES[name].enumerate())
        assert len(listed) == len(set(listed)) == SPACES[name].size()
        assert set(listed) == brute_force(SPACES[name])
    assert SPACES["constrained"].size() < TREE.size()


def test_sizes_in_closed_form() -> None:
    assert space.nasbench201().size() == 5**6
    assert space.darts().size() == (math.comb(3, 2) * math.comb(4, 2) * math.comb(5, 2) * 7**8) ** 2
    assert space.darts(nodes=7).size() == math.prod(math.comb(j, 2) * 7**2 for j in range(2, 9)) ** 2
    assert space.darts(operations=space.S2).size() == (3 * 6 * 10 * 2**8) ** 2
    assert space.darts(operations=space.S3).size() == space.darts(operations=space.S2).size()
    small = space.darts(nodes=2, operations=("none", "skip_connect", "sep_conv_3x3"))
    assert small.size() == len(set(small.enumerate())) == (3 * 2**4) ** 2


def test_size_of_chains_and_interlocking_conditions() -> None:
    chain = [Choice("c0", ("a", "b"))] + [
        Choice(f"c{i}", ("a", "b"), when=((f"c{i - 1}", "a"),)) for i in range(1, 200)
    ]
    assert Space(chain).size() == 201
    locks = [Choice(f"p{i}", ("a", "b", "c")) for i in range(4)]
    locks += [Choice(f"q{i}", ("u", "v"), when=((f"p{i}", "a"), (f"p{(i + 1) % 4}", "b"))) for i in range(4)]
    locks.append(Choice("r", (1, 2), "size", when=(("q0", "u"), ("q2", "v"))))
    assert Space(locks).size() == sum(1 for _ in Space(locks).enumerate())


def test_size_with_continuous_choices() -> None:
    lr = Choice("lr", (1e-4, 1.0), "value", log=True)
    assert Space([lr]).size() == math.inf
    with pytest.raises(SpaceError, match="'lr' cannot be enumerated"):
        Space([lr]).enumerate()
    with pytest.raises(SpaceError, match="too many"):
        Space(space.darts().choices, [lambda arch: True]).size()


def test_enumeration_is_lazy() -> None:
    began = time.perf_counter()
    first = list(itertools.islice(space.darts().enumerate(), 3))
    assert time.perf_counter() - began < 1.0
    assert len(set(first)) == 3


@pytest.mark.parametrize("name", SPACES)
def test_samples_are_valid_and_repeatable(name: str) -> None:
    draws = [SPACES[name].sample(stream(s, "sample")) for s in range(40)]
    assert all(SPACES[name].valid(arch) for arch in draws)
    assert len(set(draws)) > 10
    assert draws == [SPACES[name].sample(stream(s, "sample")) for s in range(40)]


def test_sampling_leaves_the_global_generators_alone() -> None:
    before = torch.get_rng_state()
    rng = stream(0, "x")
    arch = space.darts().sample(rng)
    space.darts().mutate(arch, rng)
    space.darts().crossover(arch, space.darts().sample(rng), rng)
    assert torch.equal(before, torch.get_rng_state())


def test_sampling_is_uniform_without_and_follows_the_prior_with() -> None:
    rng = stream(0, "uniform")
    counts = Counter(space.nasbench201().sample(rng)["cell/1-2"] for _ in range(2000))
    assert all(330 < n < 470 for n in counts.values())
    weighted = Space([Choice("a", ("x", "y"), prior=(3, 1))])
    assert 1430 < sum(weighted.sample(rng)["a"] == "x" for _ in range(2000)) < 1570


def test_unsatisfiable_constraints_are_named() -> None:
    def impossible(arch: Architecture) -> bool:
        return False

    with pytest.raises(SpaceError, match="none of 1000 .*impossible"):
        Space(TREE.choices, [impossible]).sample(stream(0, "x"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"knid": "conv"}, "did you mean 'kind'"),
        ({"kind": "cnov"}, "did you mean 'conv'"),
        ({"kind": "none"}, "supernet only"),
        ({"heads": 2}, "'heads' is inactive here .*'kind' = 'attention'"),
        ({"kernel": None}, "decides nothing for the active choice 'kernel'"),
        ({"inputs": ("1", "0")}, "in their order"),
        ({"kernel": 4}, "unknown option"),
    ],
)
def test_check_explains(change: dict, text: str) -> None:
    good = {"kind": "conv", "kernel": 3, "inputs": ("0", "1")}
    TREE.check(good)
    with pytest.raises(SpaceError, match=text):
        TREE.check({k: v for k, v in {**good, **change}.items() if v is not None})
    assert not TREE.valid({k: v for k, v in {**good, **change}.items() if v is not None})


def test_check_names_the_constraint() -> None:
    def shallow(arch: Architecture) -> bool:
        return arch["kernel"] < 5

    kernels = Space([Choice("kernel", (3, 5), "size")], shallow)  # type: ignore[arg-type]
    kernels.check({"kernel": 3})
    with pytest.raises(SpaceError, match="constraint shallow"):
        kernels.check({"kernel": 5})


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ([Choice("a", (1, 2)), Choice("a", (1, 2))], "'a' is given twice"),
        ([Choice("a", (1, 2), when=(("bb", 1),)), Choice("bc", (1,))], "did you mean 'bc'"),
        ([Choice("a", ("x",)), Choice("b", (1,), when=(("a", "y"),))], "unknown option 'y'"),
        ([Choice("a", ("x",), when=(("a", "x"),))], "conditional on itself"),
        ([Choice("a", ("x",), when=(("b", 1),)), Choice("b", (1,), when=(("a", "x"),))], "circle"),
        ([Choice("a", (0.0, 1.0), "value"), Choice("b", (1,), when=(("a", 0.0),))], "kind 'value'"),
        (["a"], "made of Choice values"),
    ],
)
def test_contradicting_choices(choices: list, text: str) -> None:
    with pytest.raises(SpaceError, match=text):
        Space(choices)


def test_children_may_be_declared_before_their_parents() -> None:
    late = Space([Choice("b", (1, 2), when=(("a", "x"),)), Choice("a", ("x", "y")), Choice("c", (1, 2))])
    assert [c.name for c in late.choices] == ["b", "a", "c"]
    assert [c.name for c in late.ordered] == ["a", "c", "b"] or [c.name for c in late.ordered] == ["a", "b", "c"]
    assert late.size() == len(list(late.enumerate())) == 6


def differing(a: Architecture, b: Architecture) -> list[str]:
    return [name for name in a if name in b and a[name] != b[name]]


@pytest.mark.parametrize("name", SPACES)
def test_neighbours_differ_in_exactly_one_decision(name: str) -> None:
    of = SPACES[name]
    for seed in range(3):
        arch = of.sample(stream(seed, "neighbours"))
        near = of.neighbours(arch)
        assert near == of.neighbours(arch)
        assert len(near) == len(set(near)) > 0
        for other in near:
            of.check(other)
            assert len(differing(arch, other)) == 1
        assert all(arch in of.neighbours(other) for other in near[::97])


def test_neighbours_are_complete() -> None:
    for name in ("tree", "constrained"):
        everything = list(SPACES[name].enumerate())
        for arch in everything:
            expected = {b for b in everything if _one_step(arch, b)}
            assert set(SPACES[name].neighbours(arch)) == expected
    cell = space.nasbench201().sample(stream(0, "x"))
    assert len(space.nasbench201().neighbours(cell)) == 24


def _one_step(a: Architecture, b: Architecture) -> bool:
    names = differing(a, b)
    return len(names) == 1 and b[names[0]] in TREE[names[0]].steps(a[names[0]])


def test_fillings_beyond_64_take_first_options() -> None:
    many = Space([Choice("a", ("x", "y"))] + [Choice(f"b{i}", (5, 6), when=(("a", "y"),)) for i in range(7)])
    (other,) = many.neighbours(Architecture({"a": "x"}))
    assert other == {"a": "y", **{f"b{i}": 5 for i in range(7)}}


@pytest.mark.parametrize("name", SPACES)
def test_mutation_changes_one_decision(name: str) -> None:
    of = SPACES[name]
    rng = stream(2, "mutate")
    arch = of.sample(rng)
    for _ in range(50):
        other = of.mutate(arch, rng)
        of.check(other)
        assert len(differing(arch, other)) == 1
        arch = other


def test_mutation_reaches_every_neighbour() -> None:
    rng = stream(0, "reach")
    arch = TREE.sample(rng)
    assert {TREE.mutate(arch, rng) for _ in range(2000)} == set(TREE.neighbours(arch))


def test_mutation_under_hard_constraints() -> None:
    bits = [Choice(f"b{i}", (0, 1)) for i in range(3)]
    twins = Space(bits, [lambda arch: len(set(arch.values())) == 1])  # 000 and 111 only: no neighbour is valid
    zero = Architecture({"b0": 0, "b1": 0, "b2": 0})
    assert twins.neighbours(zero) == []
    assert twins.mutate(zero, stream(0, "x")) == {"b0": 1, "b1": 1, "b2": 1}
    alone = Space(bits, [lambda arch: not any(arch.values())])
    assert alone.mutate(zero, stream(0, "x")) == zero
    fixed = Space([Choice("a", ("x",))])
    assert fixed.mutate(Architecture({"a": "x"}), stream(0, "x")) == {"a": "x"}


@pytest.mark.parametrize("name", SPACES)
def test_crossover_takes_every_decision_from_a_parent(name: str) -> None:
    of = SPACES[name]
    rng = stream(3, "cross")
    for _ in range(20):
        a, b = of.sample(rng), of.sample(rng)
        child = of.crossover(a, b, rng)
        of.check(child)
        assert all(child[n] in (a.get(n), b.get(n)) for n in child if n in a or n in b)
        assert of.crossover(a, a, rng) == a
    cells = SPACES["nasbench201"]
    a, b = (Architecture(dict.fromkeys(cells.sample(rng), o)) for o in ("none", "nor_conv_3x3"))
    shares = [sum(v == "none" for v in cells.crossover(a, b, rng).values()) for _ in range(300)]
    assert 2.7 < sum(shares) / 300 < 3.3


def test_continuous_choices_move() -> None:
    tuning = Space(
        [
            Choice("optimizer", ("sgd", "adam")),
            Choice("lr", (1e-4, 1.0), "value", log=True),
            Choice("momentum", (0.0, 0.99), "value", when=(("optimizer", "sgd"),)),
        ]
    )
    rng = stream(0, "hyper")
    arch = tuning.sample(rng)
    for _ in range(30):
        other = tuning.mutate(arch, rng)
        tuning.check(other)
        assert len(differing(arch, other)) == 1
        for near in tuning.neighbours(other):
            tuning.check(near)
        arch = other
    draws = [tuning.sample(rng)["lr"] for _ in range(400)]
    assert 150 < sum(lr < 1e-2 for lr in draws) < 250  # half of a logarithmic range
    assert "lr" not in tuning.gates(arch)


def test_decisions_lead_a_sequential_decider_to_every_architecture() -> None:
    def walk(prefix: list) -> list[Architecture]:
        ready = TREE.decisions(prefix)
        if not ready:
            return [Architecture(dict(prefix))]
        return [a for value in ready[0].outcomes for a in walk([*prefix, (ready[0].name, value)])]

    assert set(walk([])) == set(TREE.enumerate())
    assert [c.name for c in TREE.decisions()] == ["kind", "inputs"]
    assert [c.name for c in TREE.decisions({"kind": "conv"})] == ["kernel", "inputs"]
    with pytest.raises(SpaceError, match="unknown option"):
        TREE.decisions({"kind": "x"})
    with pytest.raises(SpaceError, match="unknown choice"):
        TREE.decisions({"x": "x"})


def test_gates() -> None:
    arch = {"kind": "conv", "kernel": 5, "inputs": ("0", "2"), "gate": "off"}
    gates = TREE.gates(Architecture(arch), dtype=torch.float64)
    assert {name: gate.tolist() for name, gate in gates.items()} == {
        "kind": [1.0, 0.0, 0.0],
        "kernel": [0.0, 1.0, 0.0],
        "inputs": [1.0, 0.0, 1.0],
        "gate": [0.0, 1.0],
    }
    assert all(gate.dtype == torch.float64 for gate in gates.values())
    edges = space.darts().gates(space.darts().sample(stream(0, "x")))
    assert all(gate[0] == 0 for name, gate in edges.items() if "node" not in name)  # never "none"
    with pytest.raises(SpaceError):
        TREE.gates(Architecture({"kind": "conv"}))


@pytest.mark.parametrize("name", ["tree", "nasbench201", "darts", "darts2", "s1"])
def test_json_round_trip(name: str) -> None:
    of = SPACES[name]
    again = Space.from_json(of.to_json(), layout=of.layout)
    assert again.choices == of.choices
    assert again.layout == of.layout
    arch = of.sample(stream(0, "json"))
    assert again.canonical(arch) == of.canonical(arch)


def test_unknown_layout() -> None:
    with pytest.raises(SpaceError, match="did you mean 'nasbench201'"):
        Space.from_json(space.nasbench201().to_json(), layout="nasbench-201")


def test_lookup() -> None:
    assert TREE["kind"].never == ("none",)
    assert "kind" in TREE
    assert len(TREE) == 6
    with pytest.raises(SpaceError, match="did you mean 'kernel'"):
        TREE["kernle"]
