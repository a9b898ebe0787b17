"""Supernets of small models through the kit, and what one call must refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar import Architecture, OneOf, SomeOf
from mimar.core.errors import SpaceError, UsageError
from mimar.core.streams import isolated, stream
from mimar.supernet import Reference, Supernet, extract, output_scales, recalibrated
from mimar.testing import check_supernet
from mimar.testing.problems import tiny_batch, tiny_model


def linear(i: int, o: int) -> nn.Module:
    return nn.Sequential(nn.Linear(i, o), nn.Tanh())


class Tied(nn.Module):
    """A choice used twice, a module shared between options, and two decisions of one name."""

    def __init__(self) -> None:
        super().__init__()
        common = linear(4, 4)
        self.a = OneOf({"one": common, "two": linear(4, 4)}, name="x")
        self.b = OneOf({"one": linear(4, 4), "two": nn.Sequential(common, linear(4, 4))}, name="x")

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.a(x)))


def nested() -> nn.Module:
    inner = OneOf({"p": linear(4, 4), "q": nn.Identity()}, name="inner")
    return nn.Sequential(OneOf({"deep": nn.Sequential(linear(4, 4), inner), "flat": linear(4, 4)}, name="outer"))


def sums() -> nn.Module:
    options = {"0": linear(4, 4), "1": nn.Identity(), "2": OneOf({"a": linear(4, 4), "b": linear(4, 4)}, name="edge")}
    return nn.Sequential(SomeOf(options, k=2, name="node"), nn.Dropout(0.3), nn.BatchNorm1d(4), nn.Linear(4, 2))


class Two(nn.Module):
    """Two inputs, an option that takes both."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = OneOf({"bilinear": nn.Bilinear(4, 3, 2), "again": nn.Bilinear(4, 3, 2)}, name="mix")

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.mix(x, y)


MODELS: dict[str, Any] = {"tied": Tied, "nested": nested, "sums": sums}


@pytest.mark.parametrize("name", MODELS)
def test_small_models_obey_the_kit(name: str) -> None:
    with isolated(0):
        model = MODELS[name]()
    check_supernet(model, torch.randn(5, 4, generator=stream(1)))


def test_two_inputs_and_a_convolutional_tower_obey_the_kit() -> None:
    with isolated(0):
        model = Two()
    check_supernet(model, (torch.randn(5, 4, generator=stream(1)), torch.randn(5, 3, generator=stream(2))))
    check_supernet(tiny_model(), tiny_batch()[0], architectures=6)


def test_one_hot_is_the_extracted_network_to_the_last_bit() -> None:
    net = Supernet(tiny_model().float(), engine=Reference())
    x = tiny_batch()[0].float()
    for number in range(10):
        architecture = net.space.sample(stream(number))
        found = net.call(net.weights, net.gates(architecture), x, training=False)
        assert torch.equal(found, extract(net.model, architecture).eval()(x))


def test_gradients_add_where_one_name_stands_twice() -> None:
    """y = x · (g · (1, 3))²: the gate acts in both places, so that dy/dg is the product rule's sum."""

    class Gain(nn.Module):
        def __init__(self, gain: float) -> None:
            super().__init__()
            self.gain = gain

        def forward(self, x: Tensor) -> Tensor:
            return self.gain * x

    model = nn.Sequential(*(OneOf({"1": Gain(1.0), "3": Gain(3.0)}, name="g") for _ in range(2)))
    gates = torch.tensor([0.25, 0.5], requires_grad=True)
    y = Supernet(model).call((), {"g": gates}, torch.tensor([2.0]))
    assert y.item() == pytest.approx(2 * 1.75**2)
    assert torch.autograd.grad(y, gates)[0].tolist() == pytest.approx([2 * 2 * 1.75, 2 * 2 * 1.75 * 3])


def test_gates_that_need_a_gradient_run_even_at_zero() -> None:
    net = Supernet(nested())
    gates = {"outer": torch.tensor([0.0, 1.0], requires_grad=True), "inner": torch.tensor([1.0, 0.0])}
    y = net.call(net.weights, gates, torch.ones(2, 4))
    assert float(torch.autograd.grad(y.sum(), gates["outer"])[0][0]) != 0.0


def test_all_gates_zero_give_zeros_of_the_right_shape() -> None:
    net = Supernet(nested())
    y = net.call(net.weights, {"outer": torch.zeros(2), "inner": torch.ones(2)}, torch.ones(2, 4))
    assert y.shape == (2, 4) and not bool(y.detach().any())


def test_wrong_gates_and_wrong_tensors_are_refused() -> None:
    net = Supernet(nested())
    x, one = torch.ones(2, 4), torch.tensor([1.0, 0.0])
    with pytest.raises(UsageError, match="unknown choice 'inner'"):
        net.call(net.weights, {"outer": one}, x)
    with pytest.raises(UsageError, match="did you mean 'inneR'"):
        net.call(net.weights, {"outer": one, "inneR": one}, x)
    with pytest.raises(SpaceError, match=r"the gate of 'outer' has shape \(3,\); it must be \(2,\)"):
        net.call(net.weights, {"outer": torch.ones(3), "inner": one}, x)
    with pytest.raises(UsageError, match="call got 1 weights and 0 buffers; this supernet has 6 and 0"):
        net.call(net.weights[:1], {"outer": one, "inner": one}, x)
    node = Supernet(sums()[0])
    with pytest.raises(UsageError, match="choice 'node' got 2 inputs for its 3 candidates"):
        node.call(node.weights, {"node": torch.ones(3), "edge": one}, ([x, x],))


def test_a_failure_inside_the_model_leaves_its_mode() -> None:
    net = Supernet(sums())
    net.model.eval()
    with pytest.raises(RuntimeError):
        net.call(net.weights, {"node": torch.ones(3), "edge": torch.ones(2)}, torch.ones(2, 7), training=True)
    assert not any(m.training for m in net.model.modules())
    with pytest.raises(UsageError, match="called outside a supernet"):
        net.model(torch.ones(2, 4))


def test_recalibration_is_the_mean_over_batches_and_touches_nothing_else() -> None:
    model = nn.Sequential(OneOf({"a": nn.Identity(), "b": nn.Tanh()}, name="c"), nn.BatchNorm1d(3, momentum=0.1))
    net = Supernet(model)
    batches = [torch.randn(8, 3, generator=stream(i)) + i for i in range(4)]
    gates = {"c": torch.tensor([1.0, 0.0])}
    mean, var, seen = recalibrated(net, net.weights, gates, iter(batches))
    torch.testing.assert_close(mean, torch.stack([b.mean(0) for b in batches]).mean(0))
    torch.testing.assert_close(var, torch.stack([b.var(0) for b in batches]).mean(0))
    assert seen == 0 and model[1].momentum == 0.1 and not bool(model[1].running_mean.any())
    with pytest.raises(UsageError, match="at least one batch"):
        recalibrated(net, net.weights, gates, [])


def test_options_of_unlike_scale_are_named() -> None:
    class Loud(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 10 * x

    class Mute(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x

    x = torch.ones(2, 3)
    loud = Supernet(OneOf({"loud": Loud(), "plain": nn.Identity(), "none": Mute()}, name="c"))
    with pytest.warns(UserWarning, match="'c': the outputs of 'loud' are 10.0 times those of 'plain'"):
        found = output_scales(loud, x)
    assert found == {"c": {"loud": pytest.approx(10.0), "plain": 1.0, "none": 0.0}}
    output_scales(Supernet(OneOf({"plain": nn.Identity(), "none": Mute()}, name="c")), x)  # no warning


def test_supernet_call_with_an_architecture_and_its_own_mode() -> None:
    net = Supernet(tiny_model())
    x, _ = tiny_batch()
    architecture = Architecture({"body": "skip", "node": ("0", "1")})
    net.model.eval()
    found = net(x, architecture)
    assert torch.equal(found, extract(net.model, architecture)(x))
    assert not torch.equal(found, net.call(net.weights, net.gates(architecture), x, training=True))
