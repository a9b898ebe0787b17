"""Changes of structure: what the nets are asked for, what is replaced in a built model, both engines on what comes out."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mimar import nets
from mimar.core.errors import UsageError
from mimar.core.streams import isolated, stream
from mimar.nets import Binary, BinaryConv2d, Nested, PartialChannels, Remodel, Same, Sparse, SparseConv2d, SparseLinear
from mimar.nets.operations import FactorizedReduce
from mimar.space import OneOf, SomeOf, of
from mimar.supernet import Fused, Reference, Supernet, extract
from mimar.testing import check_supernet

DARTS = "darts:cells=3,channels=4,nodes=2"
SMALL = "nasbench201:cells=1,channels=4"
REMODELS = (Same(), PartialChannels(2), PartialChannels(4, random=True), Nested(), Sparse(0.5), Binary())


def built(text: str, **more: int) -> nn.Module:
    with isolated(0):
        return nets.named(text, in_channels=1, classes=3, **more)


def remade(remodel: Remodel, text: str, *, final: bool) -> nn.Module:
    with isolated(0):
        return remodel(nets.named(text, in_channels=1, classes=3, **remodel.options(final=final)), final=final)


def image() -> Tensor:
    return torch.randn(2, 1, 8, 8, generator=stream(1), dtype=torch.float64)


def own() -> nn.Module:
    """A model of somebody else, with choices in choices, a tied layer and a frozen one."""
    tied = nn.Conv2d(3, 3, 3, padding=1)
    frozen = nn.Conv2d(3, 3, 1).requires_grad_(False)
    inner = OneOf({"x": nn.Conv2d(3, 3, 1), "y": nn.Sequential(nn.ReLU(), tied)}, name="inner")
    after = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(1, 3, 3, padding=1),
            a=OneOf({"deep": nn.Sequential(nn.Identity(), inner), "tied": tied, "frozen": frozen}, name="a"),
            b=SomeOf({"0": nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()), "1": after}, 1, "b"),
            pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            head=OneOf({"one": nn.Linear(3, 3), "two": nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))}, name="head"),
        )
    )


def test_what_nets_are_asked_for() -> None:
    assert [r.options(final=False) for r in REMODELS] == [{}, {"partial": 2}, {"partial": 4}, {"nested": 1}, {}, {}]
    assert [r.options(final=True) for r in REMODELS] == [{}, {}, {}, {"nested": 1}, {}, {}]


@pytest.mark.parametrize("remodel", REMODELS, ids=repr)
@pytest.mark.parametrize("text", [DARTS, SMALL])
def test_found_in_one_and_built_in_the_other(remodel: Remodel, text: str) -> None:
    search, final = remade(remodel, text, final=False), remade(remodel, text, final=True)
    assert of(search).choices == of(final).choices
    arch = of(search).sample(stream(0))
    for model in (search, final):
        with isolated(0):
            y = extract(model, arch)(image().float())
        assert y.shape == (2, 3)
        assert torch.isfinite(y).all()


def slopes(net: Supernet, gates: dict[str, Tensor], training: bool) -> dict[str, tuple[Tensor, ...]]:
    """Return output, first derivatives, and second ones along a fixed direction."""
    weights = tuple(w.detach().clone().requires_grad_() for w in net.weights)
    held = (*weights, *gates.values())
    y = net.call(weights, gates, image(), training=training, rng=stream(3))
    first = torch.autograd.grad(torch.tanh(y).sum(), held, create_graph=True)
    dot = sum((g * torch.randn(g.shape, generator=stream(4, i)).double()).sum() for i, g in enumerate(first))
    return {"output": (y,), "first": first, "second": torch.autograd.grad(dot, held)}


def engines_agree(model: nn.Module) -> None:
    model = copy.deepcopy(model).double()
    fast, slow = Supernet(model, engine=Fused()), Supernet(model, engine=Reference())
    rng = stream(2)
    gates = {c.name: torch.rand(len(c.options), generator=rng).double().requires_grad_() for c in fast.space}
    for training in (True, False):
        found, wanted = slopes(fast, gates, training), slopes(slow, gates, training)
        for name, tensors in wanted.items():
            size = max(float(t.detach().norm()) for t in tensors)
            for a, b in zip(found[name], tensors, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9 * size, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("remodel", [Sparse(0.4), Binary()], ids=repr)
@pytest.mark.parametrize("text", [DARTS, SMALL])
def test_engines_agree_on_replaced_layers(remodel: Remodel, text: str) -> None:
    engines_agree(remade(remodel, text, final=False))


@pytest.mark.parametrize("final", [False, True])
def test_sparse_nets_obey_the_kit(final: bool) -> None:
    net = remade(Sparse(0.5), "nasbench201:cells=1,channels=2", final=final)
    for name, p in net.named_parameters():  # a straight-through derivative is not that of central differences
        p.requires_grad_(not name.endswith("scores"))
    check_supernet(net, image(), architectures=1, smooth=False)


@pytest.mark.parametrize("text", [DARTS, SMALL])
def test_sparse_layers_stand_inside_options_only_and_inherit(text: str) -> None:
    plain, net = built(text), remade(Sparse(0.5), text, final=False)
    inside = {id(m) for c in net.modules() if isinstance(c, OneOf) for m in c.modules()}
    for a, b in zip(plain.modules(), net.modules(), strict=True):
        if isinstance(a, nn.Conv2d | nn.Linear):
            kind = {nn.Conv2d: SparseConv2d, nn.Linear: SparseLinear}[type(a)]
            assert type(b) is (kind if id(b) in inside else type(a))
            assert torch.equal(a.weight, b.weight)
            assert str(a)[len(type(a).__name__) :] == str(b)[len(type(b).__name__) :]  # the same sizes and options
            if type(b) is kind:
                torch.testing.assert_close(b.scores, b.weight.abs() / b.weight.abs().max())
    assert any(isinstance(m, FactorizedReduce) for m in net.modules()) == (text == DARTS)


def test_ratio_is_a_buffer_while_searching_and_a_number_in_the_end() -> None:
    search, final = (remade(Sparse(0.25), SMALL, final=final) for final in (False, True))
    assert {float(b) for n, b in search.named_buffers() if n.endswith(".keep")} == {0.25}
    assert not [n for n, _ in final.named_buffers() if n.endswith(".keep")]
    assert {m.keep for m in final.modules() if isinstance(m, SparseConv2d)} == {0.25}


@pytest.mark.parametrize("engine", [Fused(), Reference()])
def test_sparse_net_at_keep_one_is_the_plain_net(engine: object) -> None:
    plain, net = Supernet(built(DARTS).double(), engine=engine), None
    net = Supernet(remade(Sparse(1.0), DARTS, final=False).double(), engine=engine)
    arch = plain.space.sample(stream(1))
    torch.testing.assert_close(net(image(), arch), plain(image(), arch), rtol=1e-10, atol=1e-10)
    few = [torch.full_like(b, 0.1) if n.endswith(".keep") else b for n, b in zip(net.buffer_names, net.buffers)]
    assert not torch.allclose(net.call(net.weights, net.gates(arch), image(), buffers=few), net(image(), arch))


def test_binary_layers_see_both_signs() -> None:
    net = remade(Binary(), DARTS, final=False)
    seen: list[bool] = []
    for choice in net.modules():
        if isinstance(choice, OneOf):
            assert not [m for m in choice.modules() if type(m) in (nn.ReLU, nn.Conv2d)]
            for m in choice.modules():
                if isinstance(m, BinaryConv2d):
                    m.register_forward_hook(lambda m, x, y: seen.append(bool((x[0] < 0).any() and (x[0] > 0).any())))
    assert any(type(m) is nn.ReLU for m in net.modules())  # those of preprocessing
    kinds = of(net).choices
    gates = {c.name: torch.ones(len(c.options), dtype=torch.float64) for c in kinds}
    Supernet(net.double()).call(tuple(net.parameters()), gates, image())
    assert seen
    assert all(seen)


def test_models_of_others() -> None:
    for remodel, conv in ((Sparse(0.5), SparseConv2d), (Binary(), BinaryConv2d)):
        with isolated(0):
            model = own()
        held = dict(model.named_parameters())
        net = remodel(model, final=False)
        a, inner = net.a.candidates, net.a.candidates[0][1].candidates
        assert [type(m) for m in (net.stem, a[1], a[2], inner[0], net.b.candidates[0][0])] == [
            *(nn.Conv2d, conv, nn.Conv2d, conv, conv)
        ]
        assert inner[1][1] is a[1]  # tied layers stay one
        assert type(inner[1][0]) is (nn.ReLU if conv is SparseConv2d else nn.Identity)
        assert type(net.b.candidates[0][2]) is nn.ReLU  # no convolution comes after it
        assert type(net.b.candidates[1][0]) is nn.ReLU  # a norm does, and after that a convolution
        assert type(net.head.candidates[0]) is (SparseLinear if conv is SparseConv2d else nn.Linear)
        assert all(p is held[n] for n, p in net.named_parameters() if not n.endswith("scores"))
        engines_agree(net)


def test_what_cannot_be_remodelled() -> None:
    bare = nn.Sequential(OneOf({"a": nn.Identity(), "b": nn.ReLU()}, name="o"), nn.Conv2d(1, 1, 1))
    for remodel in (Sparse(0.5), Binary()):
        with pytest.raises(UsageError, match="no option of the model holds a convolution"):
            remodel(bare, final=True)
    with pytest.raises(UsageError, match=r"partial channels \(k=4\) need one of mimar's own nets"):
        PartialChannels()(own(), final=False)
    assert isinstance(PartialChannels()(own(), final=True), nn.Sequential)
    assert isinstance(PartialChannels(1)(own(), final=False), nn.Sequential)
    twice = nn.Sequential(*(OneOf({"a": nn.Identity(), "b": nn.ReLU()}, name="o") for _ in range(2)))
    with pytest.raises(UsageError, match="the choice 'o' stands in 2 places"):
        Nested()(twice, final=False)
    assert Nested()(bare, final=False) is bare
    partly = built(DARTS, partial=2, nested=1)
    assert Nested()(partly, final=False) is partly
    for make in (lambda: Sparse(0.0), lambda: Sparse(1.5), lambda: PartialChannels(0)):
        with pytest.raises(UsageError, match="it must be"):
            make()


def test_random_is_set_on_the_cells() -> None:
    for random in (False, True):
        net = remade(PartialChannels(2, random), SMALL, final=False)
        assert {m.partial.random for m in net.modules() if getattr(m, "partial", None)} == {random}


def test_words_and_more() -> None:
    assert of(built("nasbench201-small", nested=1)).choices == of(built("nasbench201-small:nested=1")).choices
    assert built("nasbench201-small:partial=2", partial=2).body[0].partial.parts == 2
    with pytest.raises(UsageError, match="partial=4 in its words contradicts partial=2"):
        built("darts:partial=4", partial=2)
    with pytest.raises(UsageError, match="net 'darts': unknown key 'parts'"):
        built("darts", parts=2)


def check_protocol(remodel: Remodel) -> Callable[..., nn.Module]:
    return remodel


def test_parts_are_remodels() -> None:
    assert all(check_protocol(r).version == 1 for r in REMODELS)
