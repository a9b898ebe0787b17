"""Decorators: dropped paths, adversarial gates, gates on edges, warm starts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mimar import nets
from mimar.core.describe import describe, rebuild
from mimar.core.errors import SpaceError
from mimar.core.streams import isolated, stream
from mimar.gradient.relax import (
    Adversarial,
    Box,
    Context,
    EdgeSoftmax,
    GumbelHard,
    PathDrop,
    Sigmoid,
    Softmax,
    SparseNoisy,
    Start,
    keeps,
    settle,
)
from mimar.space import Architecture, Choice, Space, darts, nasbench201
from mimar.supernet import Reference, Supernet

SPACE = Space([Choice("a", ("x", "y", "z")), Choice("n", ("p", "q"), "some", 1)])
ALPHAS = {"a": torch.tensor([0.5, -0.3, 0.1], dtype=torch.float64)}

# --- dropped paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "rate"),
    [(("x", "y", "z"), 0.5), (("x", "skip_connect", "z"), 0.5), (("x", "y"), 0.9), (("x", "y"), 1.0)],
)
def test_dropped_gates_keep_their_expectation(options: tuple[str, ...], rate: float) -> None:
    space = Space([Choice(f"c{i}", options) for i in range(4000)])
    alpha = torch.linspace(-0.5, 0.5, len(options), dtype=torch.float64)
    found = PathDrop(Softmax(), rate=rate).gates({c.name: alpha for c in space.choices}, Context(space, 1.0, stream(0)))
    gates = torch.stack([*found.values()])
    assert torch.allclose(gates.mean(0), torch.softmax(alpha, 0), atol=0.05)
    assert bool(((gates > 0).sum(1) >= 1).all())  # never all of a choice
    if "skip_connect" in options:
        assert torch.equal(gates[:, 1], torch.softmax(alpha, 0)[1].expand(4000))
        assert torch.allclose((gates[:, [0, 2]] == 0).double().mean(0), torch.tensor(rate).double(), atol=0.03)


def test_drops_grow_with_the_search_and_are_structural() -> None:
    space = Space([Choice(f"c{i}", ("skip_connect", "x", "y")) for i in range(2000)])
    alphas = {c.name: torch.zeros(3, dtype=torch.float64) for c in space.choices}
    for progress in (0.0, 0.5, 1.0):
        found = PathDrop(Softmax(), rate=0.6).gates(alphas, Context(space, progress, stream(3)))
        dropped = torch.stack([*found.values()]) == 0
        assert float(dropped[:, 1:].double().mean()) == pytest.approx(0.6 * progress, abs=0.03)
        assert all(found.active.get(n, (True,) * 3) == tuple((g != 0).tolist()) for n, g in found.items())
    outer = PathDrop(Softmax(), rate=0.6).gates(alphas, Context(space, 1.0, stream(3), scope="outer"))
    assert not outer.active and torch.equal(outer["c0"], torch.full((3,), 1 / 3, dtype=torch.float64))


def test_a_single_drawn_option_is_never_dropped_nor_scaled() -> None:
    space = nasbench201()
    alphas = GumbelHard().init(space, stream(0))
    for seed in range(10):
        plain, found = (
            part.gates(alphas, Context(space, 1.0, stream(seed)))
            for part in (GumbelHard(), PathDrop(GumbelHard(), rate=0.8, spare=()))
        )
        assert found.active == plain.active and all(torch.allclose(found[n], plain[n]) for n in plain)


# --- adversarial gates ----------------------------------------------------------------------------------------------


def linear(gates: Any) -> Tensor:
    return gates["a"] @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def test_of_a_linear_loss_the_corner_of_the_box_is_found() -> None:
    plain = Softmax().gates(ALPHAS, Context(SPACE))["a"]
    for progress, width in ((0.0, 0.03), (0.5, 0.165), (1.0, 0.3)):
        found = Adversarial(Softmax()).gates(ALPHAS, Context(SPACE, progress, loss=linear))
        wanted = (plain + width * torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)).clamp(0, 1)
        assert torch.allclose(found["a"], wanted, atol=1e-12)
        assert torch.equal(found["n"], torch.ones(2))
    far = Adversarial(Softmax(), radius=1.0, start=1.0).gates(ALPHAS, Context(SPACE, 0.0, loss=linear))
    assert far["a"].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_loss_is_never_lower_than_at_the_gates_themselves(steps: int) -> None:
    part, rose = Adversarial(Softmax(), steps=steps), 0
    for seed in range(30):
        root = torch.randn(3, 3, generator=stream(seed, "q"), dtype=torch.float64)
        curve = (root @ root.T if seed % 2 else root + root.T) * 10  # convex, and indefinite
        centre = torch.rand(3, generator=stream(seed, "c"), dtype=torch.float64)

        def loss(gates: Any, curve: Tensor = curve, centre: Tensor = centre) -> Tensor:
            return (gates["a"] - centre) @ curve @ (gates["a"] - centre)

        plain = Softmax().gates(ALPHAS, Context(SPACE))
        found = part.gates(ALPHAS, Context(SPACE, 1.0, loss=loss))
        assert float(loss(found)) >= float(loss(plain))
        assert (
            float((found["a"] - plain["a"]).abs().max()) <= 0.3 + 1e-12
            and 0 <= found["a"].min() <= found["a"].max() <= 1
        )
        rose += float(loss(found)) > float(loss(plain))
    assert rose >= 25


def test_the_shift_is_a_constant_and_works_without_gradients_around() -> None:
    alpha = ALPHAS["a"].clone().requires_grad_()
    part = Adversarial(Softmax())
    found = part.gates({"a": alpha}, Context(SPACE, 1.0, loss=linear))["a"]
    credit = torch.tensor([0.2, 0.4, -1.0], dtype=torch.float64)
    slopes = [torch.autograd.grad(p @ credit, alpha)[0] for p in (found, torch.softmax(alpha, 0))]
    assert torch.allclose(*slopes, rtol=1e-12)
    with torch.no_grad():
        assert torch.equal(part.gates({"a": alpha}, Context(SPACE, 1.0, loss=linear))["a"], found)


def test_options_that_do_not_run_are_not_moved() -> None:
    space = nasbench201()
    alphas = GumbelHard().init(space, stream(0))
    ctx = Context(space, 1.0, stream(1), loss=lambda g: -torch.stack([*g.values()]).sum())
    found = Adversarial(GumbelHard()).gates(alphas, ctx)
    for name, gate in found.items():
        assert sorted(gate.tolist()) == pytest.approx([0, 0, 0, 0, 0.7]) and sum(found.active[name]) == 1


def test_without_a_loss_it_says_so_where_it_needs_one() -> None:
    part = Adversarial(Softmax())
    with pytest.raises(ValueError, match="needs the loss of the batch"):
        part.gates(ALPHAS, Context(SPACE))
    plain = Softmax().gates(ALPHAS, Context(SPACE))["a"]
    for ctx in (Context(SPACE, scope="outer"), Context(SPACE, training=False)):
        assert torch.equal(part.gates(ALPHAS, ctx)["a"], plain)


# --- gates on edges -------------------------------------------------------------------------------------------------


def test_betas_of_zero_replace_sums_over_edges_by_means() -> None:
    space = darts(nodes=3)
    part = EdgeSoftmax(Softmax(), scale=0.0)
    alphas = part.init(space, stream(0))
    found = part.gates(alphas, Context(space))
    for choice in space.choices:
        n = len(choice.options)
        if choice.kind == "some":
            assert torch.allclose(found[choice.name], torch.full((n,), 1 / n))
    own = {c.name: alphas[c.name] for c in space.choices if c.kind != "some"}
    plain = Softmax().gates(own, Context(space))
    assert all(torch.equal(found[n], plain[n]) for n in own)


def test_a_mean_over_edges_is_what_the_network_computes() -> None:
    from mimar import SomeOf

    node = SomeOf({"0": torch.nn.Identity(), "1": torch.nn.Tanh(), "2": torch.nn.ReLU()}, k=2, name="node")
    supernet = Supernet(torch.nn.Sequential(node), engine=Reference())
    part = EdgeSoftmax(Softmax(), scale=0.0)
    x = torch.randn(2, 5, generator=stream(0))
    y = supernet.call((), part.gates(part.init(supernet.space, stream(0)), Context(supernet.space)), x)
    assert torch.allclose(y, (x + x.tanh() + x.relu()) / 3)


def test_betas_are_alphas_of_their_own_and_the_rest_sees_none_of_them() -> None:
    space = Space([Choice("a", ("x", "y", "z")), Choice("n", ("p", "q"), "some", 1)])
    part = EdgeSoftmax(SparseNoisy())
    alphas = part.init(space, stream(0))
    assert list(alphas) == ["a", "n"] and 0 < float(alphas["n"].abs().max()) < 1e-2
    plain = SparseNoisy().init(space, stream(0))
    assert torch.equal(alphas["a"], plain["a"])
    beta = torch.tensor([2.0, 0.0], requires_grad=True)
    ctx = Context(space, 0.5, stream(1), held=keeps(part, space))
    found = part.gates({"a": alphas["a"], "n": beta}, ctx)
    assert torch.equal(found["n"], torch.softmax(beta, 0)) and found["n"].requires_grad
    boxed = EdgeSoftmax(Box())
    ctx = Context(space, 0.5, held=keeps(boxed, space))
    moved = {"a": torch.tensor([-1.0, 0.5, 0.5]), "n": torch.tensor([-3.0, 1.0])}
    settle(boxed, moved, {n: t.clone() for n, t in moved.items()}, ctx)
    assert moved["n"].tolist() == [-3.0, 1.0] and moved["a"].tolist() == [0.0, 0.5, 0.5]
    assert list(EdgeSoftmax(Softmax()).init(nasbench201(), stream(0))) == [c.name for c in nasbench201().choices]


# --- warm starts ----------------------------------------------------------------------------------------------------


def test_named_options_lead_and_the_rest_is_untouched() -> None:
    space = darts(nodes=2)
    plain = Softmax().init(space, stream(0))
    part = Start(Softmax(), (("normal/*", "sep_conv_3x3"), ("*", "skip_connect")), logit=3.0)
    found = part.init(space, stream(0))
    for name, alpha in found.items():
        options = space[name].options
        lead = torch.zeros(len(options))
        lead[options.index("skip_connect")] = 3.0
        if name.startswith("normal/"):
            lead[options.index("sep_conv_3x3")] = 3.0
        assert torch.allclose(alpha - plain[name], lead, atol=1e-6)


def test_a_start_from_an_architecture_decides_for_it() -> None:
    space = darts(nodes=2)
    architecture = space.sample(stream(4))
    part = Start(EdgeSoftmax(Softmax()), architecture)
    gates = part.gates(part.init(space, stream(0)), Context(space))
    for name, value in architecture.items():
        choice = space[name]
        chosen = value if isinstance(value, tuple) else (value,)
        share = sum(float(gates[name][choice.options.index(option)]) for option in chosen)
        assert share > 0.999
    assert part == Start(EdgeSoftmax(Softmax()), tuple(architecture.items())) == rebuild(describe(part))
    alone = Start(Softmax(), architecture)  # without betas, the architecture's edges have nothing to lead
    assert set(alone.init(space, stream(0))) == {c.name for c in space.choices if c.kind == "one"}
    assert hash(part) == hash(Start(EdgeSoftmax(Softmax()), Architecture(architecture)))


@pytest.mark.parametrize(
    ("options", "said"),
    [((("edge*", "skip_connect"),), "unknown choice 'edge\\*'"), ((("*", "skip_conect"),), "skip_connect")],
)
def test_starts_that_name_nothing_are_refused(options: Any, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        Start(Softmax(), options).init(nasbench201(), stream(0))


def test_decorators_hand_on_what_parts_keep() -> None:
    space = nasbench201()
    for part in (PathDrop(Box()), Adversarial(Box()), EdgeSoftmax(Box()), Start(Box(), ())):
        held = keeps(part, space)
        assert set(held) == set(keeps(Box(), space))
        alphas = {c.name: torch.tensor([-1.0, 0.2, 0.2, 0.2, 0.2]) for c in space.choices}
        settle(part, alphas, {n: a.abs() for n, a in alphas.items()}, Context(space, held=held))
        assert all(mask.tolist() == [1, 0, 0, 0, 0] for mask in held.values())


def test_a_decorated_sigmoid_runs_in_a_network() -> None:
    with isolated(0):
        model = nets.named("nasbench201-small", in_channels=1, classes=3)
    supernet = Supernet(model)
    x = torch.randn(4, 1, 8, 8, generator=stream(1))
    part = Adversarial(PathDrop(Sigmoid(), rate=0.3), radius=0.1, steps=2)
    alphas = part.init(supernet.space, stream(0))

    def loss(gates: Any) -> Tensor:
        return supernet.call(supernet.weights, gates, x).square().mean()

    ctx = Context(supernet.space, 1.0, stream(2), loss=loss)
    plain = PathDrop(Sigmoid(), rate=0.3).gates(alphas, Context(supernet.space, 1.0, stream(2)))
    found = part.gates(alphas, ctx)
    assert found.active == plain.active and loss(found).item() > loss(plain).item()
