"""Partial channels: the plain net at K = 1, the formula at any K, the same space, and a K-th of the activations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimar import nets, space
from mimar.core.errors import UsageError
from mimar.core.streams import isolated, stream
from mimar.nets import Partial, PartialChannels
from mimar.nets.operations import Zero
from mimar.supernet import Fused, Reference, Supernet, extract
from mimar.testing import check_supernet

NETS = ("darts:cells=3,channels=4,nodes=2", "s3:cells=3,channels=4", "nasbench201:cells=1,channels=4")


def built(text: str, **more: int) -> nn.Module:
    with isolated(0):
        return nets.named(text, in_channels=1, classes=3, **more)


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=stream(1), dtype=torch.float64)


def mixture(net: Supernet) -> dict[str, Tensor]:
    rng = stream(2)
    drawn = {c.name: torch.rand(len(c.options), generator=rng, dtype=torch.float64) for c in net.space.choices}
    return {name: gate.requires_grad_() for name, gate in drawn.items()}


@pytest.mark.parametrize("text", NETS)
def test_one_part_is_the_plain_net(text: str) -> None:
    plain, one = built(text), built(text, partial=1)
    assert [type(m) for m in one.modules()] == [type(m) for m in plain.modules()]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), plain.parameters(), strict=True))
    assert not any(isinstance(getattr(m, "partial", None), Partial) for m in one.modules())


@pytest.mark.parametrize("text", NETS)
@pytest.mark.parametrize("parts", [2, 4])
def test_space_is_that_of_the_whole_net(text: str, parts: int) -> None:
    partial, whole = built(text, partial=parts), built(text)
    ours, theirs = space.of(partial), space.of(whole)
    assert ours.choices == theirs.choices
    assert (ours.layout, ours.structure) == (theirs.layout, theirs.structure)
    arch = ours.sample(stream(0))
    assert extract(whole, arch)(image(2, 1, 8, 8).float()).shape == (2, 3)  # found in one, built in the other


def formula(edges: list[nn.Module], xs: list[Tensor], gates: list[Tensor], parts: int, stride: int) -> Tensor:
    """Return Σ_i q_i f_i(x_i), edge after edge as published; `edges`: the option that each choice takes."""
    total: Tensor | float = 0.0
    for edge, x, q in zip(edges, xs, gates, strict=True):
        taken = x.shape[1] // parts
        rest = x[:, taken:]
        if stride == 2:
            rest = F.max_pool2d(rest, 2, 2, ceil_mode=True)
        y = torch.cat([edge(x[:, :taken]), rest], dim=1)
        b, c, h, w = y.shape
        total = total + q * y.view(b, parts, c // parts, h, w).transpose(1, 2).reshape(b, c, h, w)
    return total


@pytest.mark.parametrize("engine", [Fused(), Reference()])
@pytest.mark.parametrize("side", [8, 5, 1])
@pytest.mark.parametrize("kind", ["normal", "reduce"])
def test_nodes_of_a_darts_cell_are_the_published_sum(kind: str, side: int, engine: object) -> None:
    net = built("darts:cells=3,channels=4,nodes=1", partial=2).double().eval()
    cell = net.cells[0 if kind == "normal" else 1]
    twin = Supernet(cell, engine=engine)
    inputs = [image(2, p[1].in_channels, side, side) for p in (cell.preprocess0, cell.preprocess1)]
    gates = twin.gates(arch := twin.space.sample(stream(3)))
    gates[f"{kind}/node2"] = image(2)
    gates = {name: gates.get(name, torch.eye(8, dtype=torch.float64)[1]) for name in [c.name for c in twin.space]}
    options = [arch.get(f"{kind}/{i}-2", "max_pool_3x3") for i in (0, 1)]
    edges = [c.candidates[c.options.index(o)] for c, o in zip(cell.nodes[0].candidates, options, strict=True)]
    states = [cell.preprocess0(inputs[0]), cell.preprocess1(inputs[1])]
    wanted = formula(edges, states, list(gates[f"{kind}/node2"]), 2, 1 if kind == "normal" else 2)
    found = twin.call(twin.weights, gates, tuple(inputs), training=False)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_nodes_of_a_nasbench201_cell_are_the_published_sum(parts: int) -> None:
    net = built("nasbench201:cells=1,channels=8", partial=parts).double().eval()
    cell = net.body[0]
    twin, x, one = Supernet(cell), image(2, 8, 5, 5), torch.ones(())
    arch = space.Architecture(dict.fromkeys([c.name for c in twin.space], "nor_conv_3x3"))
    ops = [edge.candidates[edge.options.index("nor_conv_3x3")] for edge in cell.edges]
    first = formula(ops[:1], [x], [one], parts, 1)
    second = formula(ops[1:3], [x, first], [one] * 2, parts, 1)
    wanted = formula(ops[3:], [x, first, second], [one] * 3, parts, 1)
    torch.testing.assert_close(twin(x, arch), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("random", [False, True])
def test_bypass_is_a_permutation_of_the_identity(random: bool) -> None:
    partial, zero, x = Partial(8, 4, random), Zero(), image(1, 8, 2, 2)

    def edge(x: Tensor) -> Tensor:
        with isolated(5):
            order = partial.order(x)
        chosen, passed = partial.cut(x, order)
        return partial.mended(zero(chosen), passed, order)

    slopes = torch.autograd.functional.jacobian(edge, x).reshape(32, 32)
    assert set(slopes.unique().tolist()) == {0.0, 1.0}
    assert sorted(slopes.sum(0).tolist()) == sorted(slopes.sum(1).tolist()) == [0.0] * 8 + [1.0] * 24
    where = slopes.reshape(8, 4, 8, 4)[:, 0, :, 0].argmax(1)[slopes.reshape(8, 4, 32)[:, 0].sum(1) > 0]
    # channel g·C/K + c comes out at c·K + g; random ones stay where they are
    assert where.tolist() == ([2, 4, 6, 3, 5, 7] if not random else sorted(where.tolist()))


def test_random_channels_are_drawn_anew_and_isolated() -> None:
    cell = PartialChannels(2, random=True)(built(NETS[2], partial=2), final=False)
    net = Supernet(cell.double())
    x, gates = image(2, 1, 8, 8), mixture(net)
    y = [net.call(net.weights, gates, x, rng=stream(seed)) for seed in (0, 0, 1)]
    assert torch.equal(y[0], y[1])
    assert not torch.allclose(y[0], y[2])


@pytest.mark.parametrize(("text", "random"), [*((text, False) for text in NETS), (NETS[2], True), (NETS[1], True)])
def test_partial_nets_obey_the_kit(text: str, random: bool) -> None:
    net = PartialChannels(4, random)(built(text, partial=4), final=False)
    check_supernet(net, image(2, 1, 8, 8), architectures=1, smooth=False)


def test_activations_of_mixed_operations_scale_as_one_over_k() -> None:
    def elements(parts: int) -> int:
        """Count those that the options of one edge keep for the way back, one of each storage place and shape."""
        cell = built("nasbench201:cells=1,channels=8", partial=parts).body[0]
        edge, kept = cell.edges[0], {}

        def pack(t: Tensor) -> Tensor:
            if t.dim() == 4 and t.shape[0] == 3:  # activations, not weights
                kept[t.data_ptr(), t.shape] = t
            return t

        net = Supernet(edge, engine=Reference())
        gates = {edge.name: torch.full((5,), 0.2, requires_grad=True)}
        x = image(3, 8, 6, 6).float()
        x = x if parts == 1 else Partial(8, parts).cut(x, None)[0].contiguous()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            net.call(net.weights, gates, x)
        return sum(t.numel() for t in kept.values())

    assert elements(1) == 2 * elements(2) == 4 * elements(4) > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("darts:channels=8,partial=3", "partial must divide the 8 channels, which 3 does not; 2 does"),
        ("nasbench201:channels=4,partial=9", "4 does"),
        ("s1:channels=6,partial=0", "1 does"),
    ],
)
def test_parts_divide_the_channels(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(text)


def test_largest_number_of_parts_leaves_one_channel() -> None:
    check_supernet(
        built("darts:cells=3,channels=2,nodes=2", partial=2), image(2, 1, 7, 5), architectures=1, smooth=False
    )
