"""Where the fused execution steps back to the reference, and what it must not take for granted."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar import OneOf, SomeOf, nets
from mimar.core import count
from mimar.core.derivatives import gradient
from mimar.core.streams import isolated, stream
from mimar.kernels import native
from mimar.supernet import Fused, Reference, Supernet

ENGINES = (Fused(), Reference())
LAYOUTS = (torch.contiguous_format, torch.channels_last)


C = 4


def block(kernel: int, *after: nn.Module) -> nn.Sequential:
    conv = nn.Conv2d(C, C, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(C), *after)


def choice(name: str = "c") -> OneOf:
    pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.BatchNorm2d(C, affine=False))
    return OneOf({"conv1": block(1), "conv3": block(3), "pool": pool, "skip": nn.Identity()}, name=name)


def two() -> nn.Module:
    return nn.Sequential(choice(), choice("d"))


def model(make: Callable[[], nn.Module] = two) -> nn.Module:
    with isolated(0):
        return nn.Sequential(nn.Conv2d(2, C, 3, padding=1), *make()).double()


def pictures(*shape: int) -> Tensor:
    return torch.randn(shape or (3, 2, 6, 5), generator=stream(1)).double()


def gates_of(net: Supernet) -> dict[str, Tensor]:
    like = net.weights[0] if net.weights else torch.zeros(())
    return {c.name: torch.linspace(0.2, 0.9, len(c.options)).to(like) for c in net.space.choices}


def measured(net: nn.Module, engine: Any, x: Tensor | None = None, **more: Any) -> list[Tensor]:
    """Return output, buffers, gradient and one product with the second derivative at mixed gates."""
    supernet = Supernet(net, engine=engine)
    gates = {n: g.requires_grad_() for n, g in gates_of(supernet).items()}
    inputs = [*supernet.weights, *gates.values()]
    x = (pictures() if x is None else x).to(supernet.weights[0].dtype)
    y, after = supernet.call(supernet.weights, gates, x, rng=stream(0), update=True, **more)
    slopes = gradient(y.float().square().mean(), inputs, graph=True)
    products = gradient(sum(s.float().square().mean() for s in slopes), inputs)
    return [t.detach() for t in (y, *after, *slopes, *products)]


def agree(found: list[Tensor], wanted: list[Tensor]) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)  # float64, but for the sums of `measured`


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The passes that the compiled kernels run from now on."""
    ran: list[Any] = []
    execute = native.execute
    monkeypatch.setattr(native, "execute", lambda words, what: (ran.append(what), execute(words, what))[1])
    return ran


# --- where it steps back ----------------------------------------------------------------------------------------------


def test_the_kernels_run_where_nothing_stands_against_it(passes: list[Any]) -> None:
    agree(*(measured(model(), engine) for engine in ENGINES))
    assert bool(passes) == (native.compiled() is not None)


def near(truth: list[Tensor], found: list[Tensor], reference: list[Tensor]) -> None:
    """Expect `found` to be as near to the truth as the reference in the same type, up to a factor."""
    for right, ours, theirs in zip(truth, found, reference, strict=True):
        size = float(right.double().norm()) + 1e-3
        error, usual = (float((t.double() - right.double()).norm()) / size for t in (ours, theirs))
        assert error <= max(4 * usual, 1e-2) and ours.dtype == theirs.dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_types_that_the_kernels_do_not_know(dtype: torch.dtype, passes: list[Any]) -> None:
    results = [measured(model().to(dtype), engine) for engine in ENGINES]
    assert not passes
    near(measured(model().to(dtype).double(), Reference()), *results)


def test_autocast(passes: list[Any]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        results = [measured(model().float(), engine) for engine in ENGINES]
    assert not passes
    near(measured(model(), Reference()), *results)


def test_gates_of_another_type(passes: list[Any]) -> None:
    nets = [Supernet(model(), engine=engine) for engine in ENGINES]
    gates = {n: g.float() for n, g in gates_of(nets[0]).items()}
    torch.testing.assert_close(*(net.call(net.weights, gates, pictures()) for net in nets))
    assert not passes


def test_the_library_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "compiled", lambda: None)
    monkeypatch.setattr(native, "execute", None)
    agree(*(measured(model(), engine) for engine in ENGINES))


def test_counting_sees_every_operation(passes: list[Any]) -> None:
    counted = []
    for engine in ENGINES:
        net = Supernet(model(), engine=engine)
        for gates in (gates_of(net), net.gates(net.space.sample(stream(0)))):
            counted.append(count.macs(lambda x, net=net, gates=gates: net.call(net.weights, gates, x), pictures()))
    assert counted[:2] == counted[2:] and counted[0] > counted[1] > 0 and not passes


@pytest.mark.parametrize("shape", [(5, C), (C,), (2, 3, 5, C), (0, C)], ids=str)
def test_inputs_that_are_no_pictures(shape: tuple[int, ...]) -> None:
    def linear() -> nn.Sequential:
        return nn.Sequential(nn.ReLU(), nn.Linear(C, C))

    with isolated(0):
        edges = {"0": OneOf({"a": linear(), "b": nn.Identity()}, name="x"), "1": nn.Identity()}
        net = nn.Sequential(SomeOf(edges, k=1, name="n"), nn.Linear(C, 2)).double()
    nets = [Supernet(net, engine=engine) for engine in ENGINES]
    torch.testing.assert_close(*(n.call(n.weights, gates_of(n), pictures(*shape)) for n in nets))


def test_no_pictures_at_all_and_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = OneOf({"a": nn.Bilinear(3, 3, 2), "b": nn.Bilinear(3, 3, 2)}, name="m")

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.mix(x, y)

    nets = [Supernet(model(), engine=engine) for engine in ENGINES]
    torch.testing.assert_close(*(n.call(n.weights, gates_of(n), pictures(0, 2, 6, 5), training=False) for n in nets))
    two = Two()
    x = (torch.randn(2, 5, 4, 3), torch.randn(2, 5, 4, 3))
    nets = [Supernet(two, engine=engine) for engine in ENGINES]
    assert torch.equal(*(n.call(n.weights, gates_of(n), x) for n in nets))


HOOKS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "of an option": lambda option, hook: option.register_forward_hook(hook),
    "before a part of an option": lambda option, hook: option[1].register_forward_pre_hook(hook),
    "after a part, on the way back": lambda option, hook: option[2].register_full_backward_hook(hook),
    "of all modules": lambda option, hook: nn.modules.module.register_module_forward_hook(hook),
    "of all modules, on the way back": lambda option, hook: nn.modules.module.register_module_full_backward_hook(hook),
}


KINDS = list(HOOKS)


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_are_called(kind: str, passes: list[Any]) -> None:
    net, seen, x = model(), [], pictures().requires_grad_()
    wanted = measured(net, Reference(), x)
    agree(measured(net, Fused(), x), wanted)  # the engine has seen the model before the hook comes
    ran = len(passes)
    option = net[1].candidates[1]
    handle = HOOKS[kind](option, lambda module, *_: seen.append(module))
    try:
        agree(measured(net, Fused(), x), wanted)
    finally:
        handle.remove()
    assert {id(module) for module in seen} & {id(m) for m in option.modules()}
    passes.clear()
    agree(measured(net, Fused(), x), wanted)
    assert len(passes) == ran  # once they are gone the options run together again


def test_a_hook_may_change_what_an_option_gives() -> None:
    net = model()
    net[1].candidates[1].register_forward_hook(lambda _module, _inputs, y: 2 * y)
    agree(*(measured(net, engine) for engine in ENGINES))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # inside torch.func.jvp
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_functional_transforms(training: bool) -> None:
    """torch.func over a call: gradients, products forward and back, and one network for each of several gates."""
    found: list[list[Any]] = []
    x = pictures()
    for engine in ENGINES:
        net = Supernet(model(), engine=engine)

        def loss(gate: Tensor, net: Supernet = net) -> Tensor:
            weights = [w.detach() for w in net.weights]
            return net.call(weights, {**gates_of(net), "c": gate}, x, training=training).tanh().sum()

        gate = gates_of(net)["c"]
        results = [torch.func.grad(loss)(gate), torch.func.jvp(loss, (gate,), (torch.ones_like(gate),))[1]]
        results.append(torch.func.vjp(loss, gate)[1](torch.ones(()).double())[0])
        results.append(torch.func.jvp(torch.func.grad(loss), (gate,), (torch.ones_like(gate),))[1])
        if not training:  # torch refuses to update statistics under these

            def one(x: Tensor, net: Supernet = net, gate: Tensor = gate) -> Tensor:
                return net.call(net.weights, {**gates_of(net), "c": gate}, x[None], training=False)[0]

            results.append(torch.func.vmap(one, randomness="same")(x))
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(gate, torch.ones_like(gate))
            results.append(torch.autograd.forward_ad.unpack_dual(loss(dual)).tangent)
        found.append(results)
    agree(*found)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_calls_without_gradients(mode: Any, passes: list[Any]) -> None:
    nets = [Supernet(model(), engine=engine) for engine in ENGINES]
    with mode():
        torch.testing.assert_close(*(n.call(n.weights, gates_of(n), pictures()) for n in nets))
    assert bool(passes) == (native.compiled() is not None)


def test_the_search_for_anomalies() -> None:
    with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly(check_nan=True):
        agree(*(measured(model(), engine) for engine in ENGINES))


# --- what must not be taken for granted -------------------------------------------------------------------------------


def test_weights_in_any_layout() -> None:
    net = model().to(memory_format=torch.channels_last)
    agree(measured(net, Fused()), measured(model(), Reference()))


@pytest.mark.parametrize("how", ["column", "every third", "expanded"])
def test_gates_in_any_layout(how: str) -> None:
    wide = torch.linspace(0.1, 0.9, 3 * C).double().view(C, 3)
    gate = {"column": wide[:, 1], "every third": wide.view(-1)[::3], "expanded": wide[0, :1].expand(C)}[how]
    results = []
    for engine in ENGINES:
        net, own = Supernet(model(), engine=engine), gate.detach().requires_grad_()
        y = net.call(net.weights, {**gates_of(net), "c": own}, pictures())
        results.append([y.detach(), *torch.autograd.grad(y.square().sum(), [own, *net.weights])])
    agree(*results)


@pytest.mark.parametrize("how", ["channels last", "slice", "transposed", "expanded", "one channel"])
def test_inputs_in_any_layout(how: str) -> None:
    x = pictures(3, C, 6, 6)
    laid = {
        "channels last": x.contiguous(memory_format=torch.channels_last),
        "slice": pictures(6, C + 3, 13, 6)[::2, 1 : C + 1, 1::2],
        "transposed": x.transpose(2, 3),
        "expanded": x[:1].expand(3, C, 6, 6),
        "one channel": x[:, :1].expand(3, C, 6, 6),
    }[how]
    with isolated(0):
        net = nn.Sequential(choice(), choice("d")).double()
    agree(*(measured(net, engine, x=laid) for engine in ENGINES))


def test_a_model_changed_between_two_supernets() -> None:
    """An option replaced, a part of one replaced, a setting changed: a new supernet sees the model as it is."""
    net = model()
    for change in (
        lambda: net[1].candidates.__setitem__(0, block(5)),
        lambda: net[1].candidates[1].__setitem__(1, nn.Conv2d(C, C, 3, padding=1, bias=False)),
        lambda: net[1].candidates[1].append(nn.Tanh()),
        lambda: net[2].candidates[1][1].__setattr__("bias", nn.Parameter(torch.ones(C))),
        lambda: nn.utils.parametrizations.weight_norm(net[2].candidates[0][1]),
    ):
        agree(*(measured(net, engine) for engine in ENGINES))
        with isolated(1):
            change()
        net.double()
    agree(*(measured(net, engine) for engine in ENGINES))


def test_one_number_a_channel_is_refused_in_training_as_torch_does() -> None:
    def pool() -> nn.Module:
        return nn.Sequential(OneOf({"pool": choice().candidates[2], "skip": nn.Identity()}, name="c"))

    for make in (two, pool):
        for engine in ENGINES:
            net = Supernet(model(make), engine=engine)
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                net.call(net.weights, gates_of(net), pictures(1, 2, 1, 1), update=True)
            assert net.call(net.weights, gates_of(net), pictures(1, 2, 1, 1), training=False).shape == (1, C, 1, 1)


def test_what_follows_may_work_in_place() -> None:
    def make() -> nn.Module:
        return nn.Sequential(choice(), nn.ReLU(inplace=True), choice("d"), nn.ReLU(inplace=True))

    for layout in LAYOUTS:
        x = pictures().contiguous(memory_format=layout)
        agree(*(measured(model(make), engine, x=x) for engine in ENGINES))


def test_an_input_changed_in_place_between_two_choices() -> None:
    class Changes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = choice(), choice("d")

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            x.mul_(torch.linspace(-1, 2, x.shape[-1]).to(x))
            return y + self.b(x)

    for layout in LAYOUTS:
        results = []
        for engine in ENGINES:
            net = Supernet(model(lambda: nn.Sequential(Changes())), engine=engine)
            with torch.no_grad():
                results.append(net.call(net.weights, gates_of(net), pictures().contiguous(memory_format=layout)))
        torch.testing.assert_close(*results)


def test_part_of_the_model_without_gradients() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (SomeOf({"0": choice(), "1": choice("d")}, k=1, name="n") for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                y = self.a(x)
            return self.b([x, y])

    agree(*(measured(model(lambda: nn.Sequential(Half())), engine) for engine in ENGINES))


def test_norms_that_remember_nothing_beside_norms_that_do() -> None:
    """Pools of one shape behind both kinds: what one of them shares is not the other's."""

    def pool(track: bool) -> OneOf:
        norm = nn.BatchNorm2d(C, affine=False, track_running_stats=track)
        return OneOf(
            {"pool": nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), norm), "skip": nn.Identity()},
            name=f"{track}",
        )

    net = model(lambda: nn.Sequential(pool(True), pool(False)))
    for training in (True, False, True):
        agree(*(measured(net, engine, training=training) for engine in ENGINES))


def test_settings_of_norms_are_read_at_every_call() -> None:
    net = model()
    for change in ({}, {"momentum": 0.7}, {"eps": 0.3}, {"momentum": 0.0}):
        for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
            for name, value in change.items():
                setattr(norm, name, value)
        for training in (True, False):
            agree(*(measured(net, engine, training=training) for engine in ENGINES))


def test_plans_do_not_pile_up() -> None:
    """Sampled paths ask for ever new plans; only so many are remembered, and those forgotten are made again."""
    from mimar.supernet import fused

    net = Supernet(model())
    wanted = Supernet(net.model, engine=Reference())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "PLANS", 3)
        for number in range(12):
            gates = net.gates(net.space.sample(stream(number)))
            found, right = (n.call(n.weights, gates, pictures()) for n in (net, wanted))
            torch.testing.assert_close(found, right)
        assert len(fused._MEMORY[net.model].plans) <= 3


def test_copies_of_a_model_have_memories_of_their_own() -> None:
    first = model()
    agree(*(measured(first, engine) for engine in ENGINES))
    second = copy.deepcopy(first)
    with torch.no_grad():
        for p in second.parameters():
            p.add_(0.1)
    wanted = measured(second, Reference())
    agree(measured(second, Fused()), wanted)
    del first
    agree(measured(second, Fused()), wanted)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_so(value: float) -> None:
    """A divergence that an engine hides is found epochs later."""
    x = pictures()
    x[0, 1, 2, 2] = value
    for training in (True, False):
        results = []
        for engine in ENGINES:
            net = Supernet(model(), engine=engine)
            y, after = net.call(net.weights, gates_of(net), x, training=training, update=True)
            slopes = torch.autograd.grad(y.sum(), net.weights)
            results.append([torch.isfinite(t).all(dim=0) for t in (y, *after, *slopes) if t.dim()])
        for ours, theirs in zip(*results, strict=True):
            assert not bool((ours & ~theirs).any())  # what is finite here is finite there


@pytest.mark.parametrize("what", ["shape of a weight", "type of a weight", "type of a buffer", "shape of a buffer"])
def test_tensors_that_do_not_fit_are_refused(what: str) -> None:
    """The kernels read memory by address: what torch would refuse must not reach them."""
    for engine in ENGINES:
        net = Supernet(model(), engine=engine)
        weights, buffers = [w.detach() for w in net.weights], list(net.buffers)
        tensors = weights if what.endswith("weight") else buffers
        at = next(
            i for i, t in enumerate(tensors) if t.dim() == (4 if tensors is weights else 1) and len(t) == C and i > 1
        )
        tensors[at] = tensors[at].float() if what.startswith("type") else tensors[at][:2]
        with pytest.raises(RuntimeError):
            net.call(weights, gates_of(net), pictures(), buffers=buffers, update=True)


def test_one_picture_of_one_pixel_in_evaluation() -> None:
    with isolated(0):
        net = nets.named("darts-small:channels=3,nodes=2", in_channels=2, classes=3).double()
    agree(*(measured(net, engine, pictures(1, 2, 1, 1), training=False) for engine in ENGINES))


def test_an_option_that_changes_its_input() -> None:
    """Whether that is wise or not: the options after it see what it left, as in the reference."""

    def make() -> nn.Module:
        first = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(C, C, 1, bias=False))
        return nn.Sequential(OneOf({"a": first, "b": block(3), "skip": nn.Identity()}, name="c"))

    nets = [Supernet(model(make), engine=engine) for engine in ENGINES]
    with torch.no_grad():
        torch.testing.assert_close(*(n.call(n.weights, gates_of(n), pictures()) for n in nets))


def test_an_edge_of_zeros_beside_others_moves_the_same_statistics() -> None:
    def make() -> nn.Module:
        return nn.Sequential(SomeOf({"0": choice("c"), "1": choice("d")}, k=1, name="n"))

    nets = [Supernet(model(make), engine=engine) for engine in ENGINES]
    results = [
        n.call(n.weights, {**gates_of(n), "c": torch.zeros(4).double()}, pictures(), update=True)[1] for n in nets
    ]
    agree(*map(list, results))
