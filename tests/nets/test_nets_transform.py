"""Networks that grow out of one another compute the same, whatever the steps; and what does not is found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar import nets, space
from mimar.core.errors import SpaceError
from mimar.core.streams import Draws, isolated, stream
from mimar.nets import transform
from mimar.space import Architecture
from mimar.strategies.edit_policy import edits
from mimar.supernet import chosen


def model(**options: Any) -> Any:
    with isolated(0):
        return nets.convnet(channels=2, classes=3, affine=True, **options).double()


def images(seed: int, n: int = 12) -> Tensor:
    return torch.randn(n, 1, 8, 8, dtype=torch.float64, generator=stream(seed, "images"))


def lived(net: Any, arch: Architecture, seed: int = 0) -> Any:
    """Return the network of an architecture with weights, norms and statistics that are nobody's defaults."""
    made = chosen(net, arch, fresh=stream(seed, "fresh"))
    rng, norms = stream(seed, "lived"), [m for m in made.net.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.copy_(0.5 + torch.rand(norm.weight.shape, generator=rng, dtype=torch.float64))
            norm.bias.copy_(torch.rand(norm.bias.shape, generator=rng, dtype=torch.float64) - 0.3)
            norm.momentum = None  # one pass leaves its statistics
        made.net.train()
        made.net(images(seed, n=30))
    made.net.eval()
    return made


def walk(net: Any, seed: int, steps: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return a chain and what some random steps make of it, skips between widened layers included."""
    of, draws, sequence = space.of(net), Draws(seed, "walk"), edits(space.of(net))
    here = dict(of.sample(stream(seed, "walk")))
    first = here
    for _ in range(steps):
        names, kinds = sequence.names, sequence.kinds
        found: Any = [sequence.wider(here, n) for n in names]
        found += [sequence.deeper(here, n, k) for n in names for k in kinds]
        found = [f for f in found if f is not None]
        here = draws.choice(found) if found else here
    return first, here


def difference(one: Any, two: Any, seed: int = 7) -> float:
    x = images(seed)
    with torch.no_grad():
        return float((one.net(x) - two.net(x)).abs().max())


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_steps_keeps_the_function(seed: int) -> None:
    net = model()
    small, large = walk(net, seed, steps=1 + seed % 6)
    parent, child = lived(net, Architecture(small)), lived(net, Architecture(large), seed=1)
    net.inheritance(parent, child, stream(seed, "grow"), images(seed), (0.0, 0.0))
    assert difference(parent, child) < 1e-10
    assert float(parent.net(images(7)).detach().std(0).min()) > 1e-3  # a function, not a constant


def test_one_step_after_the_other_keeps_the_function() -> None:
    net = model()
    sequence: Any = edits(space.of(net))
    here = {"layer1": "2-2-conv3", "layer2": "2-2-skip", "layer3": "2-2-conv3", "layer4": "2-2-skip"}
    first = before = lived(net, Architecture(here))
    steps: list[tuple[str, ...]] = [("layer1",), ("layer2", "conv5"), ("layer1",), ("layer4", "conv3"), ("layer4",)]
    for number, step in enumerate([*steps, ("layer3",)]):
        here = sequence.wider(here, *step) if len(step) == 1 else sequence.deeper(here, *step)
        if here is None:
            break
        after = lived(net, Architecture(here), seed=number)
        net.inheritance(before, after, stream(number, "grow"), images(number), (0.0, 0.0))
        before = after
        assert difference(first, after) < 1e-10
    assert number >= 4


def test_a_kernel_becomes_larger() -> None:
    net = model()
    small = {"layer1": "2-2-conv3", "layer2": "2-4-conv3", "layer3": "4-4-skip", "layer4": "4-4-conv5"}
    large = {"layer1": "2-2-conv5", "layer2": "2-4-conv5", "layer3": "4-4-skip", "layer4": "4-8-conv5"}
    parent, child = lived(net, Architecture(small)), lived(net, Architecture(large), seed=1)
    net.inheritance(parent, child, stream(0, "grow"), images(0), (0.0, 0.0))
    assert difference(parent, child) < 1e-10
    weight = child.edges[0].module[1].weight
    assert torch.equal(weight[:, :, 1:4, 1:4], parent.edges[0].module[1].weight) and not weight[:, :, 0].any()


def test_wider_is_the_formula() -> None:
    """Ŵ_in[j] = W_in[g(j)], Ŵ_out[:, j] = W_out[:, g(j)] / |{i: g(i) = g(j)}|, written out with loops."""
    net = model(stages=1)
    small, large = ({"layer1": f"2-{w}-conv3", "layer2": f"{w}-8-conv3"} for w in (2, 8))
    parent, child = lived(net, Architecture(small)), lived(net, Architecture(large), seed=1)
    net.inheritance(parent, child, stream(0, "grow"), images(0), (0.0, 0.0))
    (w_in, w_out), (v_in, v_out) = ([e.module[1].weight.detach() for e in one.edges] for one in (parent, child))
    g = [next(i for i in range(2) if torch.equal(v_in[j], w_in[i])) for j in range(8)]
    assert g[:2] == [0, 1] and len(set(g[2:])) == 2  # both are copied
    for j in range(8):
        torch.testing.assert_close(v_out[:, j], w_out[:, g[j]] / g.count(g[j]), rtol=0, atol=1e-15)


def test_an_inserted_norm_has_the_statistics_of_the_examples() -> None:
    net = model(stages=1)
    small = {"layer1": "2-2-conv3", "layer2": "2-2-skip"}
    parent = lived(net, Architecture(small))
    child = lived(net, Architecture({**small, "layer2": "2-2-conv5"}), seed=1)
    x = images(0)
    net.inheritance(parent, child, stream(0, "grow"), x, (0.0, 0.0))
    norm = child.edges[1].module[2]
    with torch.no_grad():
        y = parent.edges[0].module(parent.net.stem(x))[:, :2]
        torch.testing.assert_close(norm.running_mean, y.mean((0, 2, 3)))
        torch.testing.assert_close(norm.weight**2 - norm.eps, y.var((0, 2, 3), correction=0))
        norm.train()  # on these examples even with the statistics of the batch
        torch.testing.assert_close(child.net(x), parent.net(x), rtol=0, atol=1e-10)


def test_noise_breaks_the_symmetry_and_nothing_else() -> None:
    net = model(stages=1)
    small, large = {"layer1": "2-2-conv3", "layer2": "2-2-skip"}, {"layer1": "2-8-conv3", "layer2": "8-8-conv3"}
    parent, child = lived(net, Architecture(small)), lived(net, Architecture(large), seed=1)
    net.inheritance(parent, child, stream(0, "grow"), images(0), (1e-2, 1e-3))
    old, new = (one.edges[0].module[1].weight.detach() for one in (parent, child))
    assert torch.equal(new[:2], old)
    away = torch.stack([min((new[j] - old[i] for i in range(2)), key=lambda d: float(d.norm())) for j in range(2, 8)])
    assert 0.5e-2 < float(away.std() / old.std()) < 1.5e-2
    assert 0 < difference(parent, child) < 0.1


def test_what_is_not_contained_is_refused() -> None:
    net = model(stages=1)
    contains = net.inheritance.contains
    here = {"layer1": "2-4-conv3", "layer2": "4-4-skip"}
    assert contains(here, here) and contains({"layer1": "2-8-conv5", "layer2": "8-8-conv3"}, here)
    for other in (
        {"layer1": "2-2-conv3", "layer2": "2-4-conv3"},
        {"layer1": "2-2-skip", "layer2": "2-4-conv3"},
        {"layer1": "2-2-conv5", "layer2": "2-2-skip"},
    ):
        assert not contains(other, here)
    assert not contains(here, {"layer1": "2-4-conv5", "layer2": "4-4-skip"})  # a smaller kernel
    parent, child = (
        lived(net, Architecture(here)),
        lived(net, Architecture({"layer1": "2-2-skip", "layer2": "2-2-skip"})),
    )
    with pytest.raises(SpaceError, match="does not contain"):
        net.inheritance(parent, child, stream(0), images(0))


@pytest.mark.parametrize("part", ["counts", "delta", "head"])
def test_a_planted_error_is_found(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if part == "counts":
        monkeypatch.setattr(transform, "_counts", lambda g, like: torch.ones(len(g), dtype=like.dtype))
    growth = transform._Growth
    if part == "delta":
        plain = growth._identity
        monkeypatch.setattr(growth, "_identity", lambda self, ours, h, y: plain(self, ours, h.flip(0), y))
    if part == "head":
        monkeypatch.setattr(growth, "head", lambda self, child, parent, g: child.load_state_dict(parent.state_dict()))
    net = model(stages=1)
    small, large = {"layer1": "2-2-conv3", "layer2": "2-2-skip"}, {"layer1": "2-4-conv3", "layer2": "4-4-conv3"}
    parent, child = lived(net, Architecture(small)), lived(net, Architecture(large), seed=1)
    net.inheritance(parent, child, stream(0, "grow"), images(0), (0.0, 0.0))
    assert difference(parent, child) > 1e-4


def test_the_parent_is_left_as_it_was() -> None:
    net = model()
    small, large = walk(net, 5, steps=4)
    parent, child = lived(net, Architecture(small)), lived(net, Architecture(large), seed=1)
    before = {name: t.clone() for name, t in parent.net.state_dict().items()}
    parent.net.train()
    net.inheritance(parent, child, stream(5, "grow"), images(5))
    assert parent.net.training and all(torch.equal(before[n], t) for n, t in parent.net.state_dict().items())
    assert not any(m._forward_pre_hooks for m in parent.net.modules())
