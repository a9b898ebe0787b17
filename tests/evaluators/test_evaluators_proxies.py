"""Scores of untrained networks against hand sums, slow formulas and finite differences; networks stay as they were."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimar.core.errors import UsageError
from mimar.core.streams import isolated, stream
from mimar.evaluators import proxies
from mimar.evaluators.proxies.expressivity import GaussianComplexity
from mimar.evaluators.proxies.fisher import FisherInformation
from mimar.evaluators.proxies.flow import SynapticFlow
from mimar.evaluators.proxies.gradients import ConnectionSensitivity, GradientFlow, GradientNorm, SignedSensitivity
from mimar.evaluators.proxies.jacobian import ClassJacobians, JacobianCovariance
from mimar.evaluators.proxies.parts import Features, Proxy, gaussian, private
from mimar.evaluators.proxies.patterns import ActivationKernel, LinearRegions
from mimar.evaluators.proxies.similarity import TeacherSimilarity, largest
from mimar.evaluators.proxies.sizes import Operations, Parameters, WeightNorm
from mimar.evaluators.proxies.tangent import TangentCondition
from mimar.supernet import extract
from mimar.tasks.protocol import Batch
from mimar.testing.expect import same_bits, untouched
from mimar.testing.problems import tiny_model

MLP = {"inputs": 6, "width": 8, "outputs": 3}


def mlp(seed: int = 0, bias: bool = True) -> nn.Module:
    with isolated(seed):
        layers = [
            nn.Linear(6, 8, bias=bias),
            nn.ReLU(),
            nn.Linear(8, 7, bias=bias),
            nn.ReLU(),
            nn.Linear(7, 3, bias=bias),
        ]
        return nn.Sequential(*layers).double()


def conv_net(seed: int = 0) -> nn.Module:
    with isolated(seed):
        net = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(5, 3),
        )
        return net.double()


def vectors(n: int = 7, seed: int = 0) -> Batch:
    rng = stream(seed, "vectors")
    return Batch(torch.randn(n, 6, generator=rng, dtype=torch.float64), torch.arange(n) % 3)


def images(n: int = 6, seed: int = 0) -> Batch:
    rng = stream(seed, "images")
    return Batch(torch.randn(n, 2, 5, 5, generator=rng, dtype=torch.float64), torch.arange(n) % 3)


def every() -> list[tuple[str, Proxy]]:
    return [(n, TeacherSimilarity(conv_net(9)) if n == "diswot" else proxies.named(n)) for n in proxies.names()]


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_sums_of_a_linear_layer_by_hand() -> None:
    net, batch = nn.Linear(6, 3).double(), vectors()
    p = net(batch.x).detach().softmax(1) - F.one_hot(batch.y, 3)
    g = p.T @ batch.x / len(batch.x)  # ∂L/∂W of the cross entropy
    w = net.weight.detach()
    for part, expected in (
        (ConnectionSensitivity(), (w * g).abs().sum()),
        (SignedSensitivity(), (w * g).sum()),
        (GradientNorm(), g.norm()),
        (WeightNorm(), w.norm()),
        (Parameters(), torch.tensor(21.0)),
        (Operations(), torch.tensor(18.0)),
    ):
        assert part(net, batch) == pytest.approx(float(expected), rel=1e-12)


def test_numbers_are_fitted_by_squares() -> None:
    net, batch = nn.Linear(6, 3).double(), vectors()
    y = torch.zeros(7, 3, dtype=torch.float64)
    g = 2 * net(batch.x).detach().T @ batch.x / y.numel()
    assert GradientNorm()(net, Batch(batch.x, y)) == pytest.approx(float(g.norm()), rel=1e-12)


def test_gradient_flow_agrees_with_finite_differences() -> None:
    net, batch = mlp(), vectors()
    names = [n for n, p in net.named_parameters() if p.dim() > 1]

    def gradient(double: nn.Module) -> list[Tensor]:
        held = dict(double.named_parameters())
        return list(torch.autograd.grad(F.cross_entropy(double(batch.x), batch.y), [held[n] for n in names]))

    g, step, ends = gradient(net), 1e-5, []
    for sign in (1.0, -1.0):
        moved = copy.deepcopy(net)
        with torch.no_grad():
            for n, d in zip(names, g, strict=True):
                dict(moved.named_parameters())[n].add_(d, alpha=sign * step)
        ends.append(gradient(moved))
    held = dict(net.named_parameters())
    product = [(a - b) / (2 * step) for a, b in zip(*ends, strict=True)]
    expected = -sum(float((held[n].detach() * h).sum()) for n, h in zip(names, product, strict=True))
    assert GradientFlow()(net, batch) == pytest.approx(expected, rel=1e-6)


def test_gradient_flow_of_a_loss_that_is_linear_in_the_weights_is_zero() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, 2))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.w.detach() + (x @ self.w - x @ self.w.detach()) * 0

    assert GradientFlow()(Linear(), Batch(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))) == 0.0


@pytest.mark.parametrize("net, batch", [(mlp(), vectors()), (conv_net().eval(), images())])
def test_fisher_agrees_with_a_loop_over_samples_and_channels(net: nn.Module, batch: Batch) -> None:
    outputs: list[Tensor] = []

    def keep(module: nn.Module, given: object, y: Tensor) -> None:
        y.retain_grad()
        outputs.append(y)

    double = copy.deepcopy(net).train()
    double.apply(lambda m: m.eval() if isinstance(m, nn.Dropout) else None)
    for module in double.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(keep)
    F.cross_entropy(double(batch.x), batch.y).backward()
    total = 0.0
    for y in outputs:
        assert y.grad is not None
        for c in range(y.shape[1]):
            sums = [float((y[b, c].detach() * y.grad[b, c]).sum()) for b in range(len(y))]
            total += 0.5 * sum(s * s for s in sums) / len(sums)
    assert FisherInformation()(net, batch) == pytest.approx(total, rel=1e-10)


# -- synaptic flow ----------------------------------------------------------------------------------------------------


def test_flow_is_conserved_along_a_chain_without_biases() -> None:
    sums = [float(f.sum()) for f in SynapticFlow().flows(mlp(bias=False), vectors()).values()]
    assert len(sums) == 3 and sums == pytest.approx([sums[0]] * 3, rel=1e-12)


def test_flow_of_a_chain_is_the_product_of_absolute_matrices() -> None:
    net = mlp(bias=False)
    product = torch.ones(6, dtype=torch.float64)
    for layer in net:
        if isinstance(layer, nn.Linear):
            product = layer.weight.detach().abs() @ product
    assert SynapticFlow()(net, vectors()) == pytest.approx(math.log(3 * float(product.sum())), rel=1e-12)


def test_flow_ignores_batch_norm_and_does_not_overflow() -> None:
    plain = [nn.Conv2d(2, 64, 3, padding=1, bias=False)] + [
        nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(40)
    ]
    with torch.no_grad():
        for layer in plain:
            layer.weight.fill_(1.0)
    normed = [m for layer in plain for m in (layer, nn.BatchNorm2d(64))]
    batch = images()
    found = SynapticFlow()(nn.Sequential(*plain), batch)
    assert found == SynapticFlow()(nn.Sequential(*normed), batch) and math.log(1e59) < found < math.inf


def test_flow_through_nothing_is_minus_infinity() -> None:
    net = mlp(bias=False)
    with torch.no_grad():
        net[2].weight.zero_()  # type: ignore[union-attr, operator]
    assert SynapticFlow()(net, vectors()) == -math.inf


# -- Jacobians --------------------------------------------------------------------------------------------------------


def slow_jacobian(net: nn.Module, x: Tensor) -> np.ndarray:
    rows = []
    for i in range(len(x)):
        one = x[i : i + 1].clone().requires_grad_()
        net(one).sum().backward()
        assert one.grad is not None
        rows.append(one.grad.flatten().numpy())
    return np.stack(rows)


def test_covariance_of_jacobians_by_numpy() -> None:
    net, batch = mlp(), vectors()
    v = np.linalg.eigvalsh(np.corrcoef(slow_jacobian(copy.deepcopy(net), batch.x)))
    expected = -sum(math.log(max(e, 0.0) + 1e-5) + 1 / (max(e, 0.0) + 1e-5) for e in v)
    assert JacobianCovariance()(net, batch) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("outputs", [3, 150])
def test_correlations_within_classes_by_numpy(outputs: int) -> None:
    with isolated(1):
        net = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, outputs)).double()
    batch = Batch(vectors(8).x, torch.tensor([0, 1, 1, 0, 2, 0, 1, 1]))
    rows = slow_jacobian(copy.deepcopy(net), batch.x)
    sums = []
    for c in (0, 1, 2):
        corr = np.atleast_2d(np.corrcoef(rows[batch.y.numpy() == c]))
        s = np.log(np.abs(corr) + 1e-5).sum()
        sums.append(s / len(corr) if outputs > 100 else s)
    expected = sum(abs(a - b) for a in sums for b in sums) / 3 if outputs > 100 else sum(abs(s) for s in sums)
    assert ClassJacobians()(net, batch) == pytest.approx(expected, rel=1e-9)


def test_a_constant_network_has_no_correlations() -> None:
    net = mlp()
    with torch.no_grad():
        net[0].weight.zero_()  # type: ignore[union-attr, operator]
    assert math.isnan(JacobianCovariance()(net, vectors()))


# -- activation patterns ----------------------------------------------------------------------------------------------


def test_the_diagonal_of_the_kernel_counts_the_rectified_units() -> None:
    assert ActivationKernel().kernel(mlp(), vectors()).diagonal().tolist() == [15.0] * 7
    assert ActivationKernel().kernel(conv_net(), images()).diagonal().tolist() == [(4 + 5) * 25.0] * 6


def test_the_kernel_counts_agreements() -> None:
    net, batch = mlp(), vectors()
    first = net[0](batch.x)  # type: ignore[index, operator]
    second = net[2](first.relu())  # type: ignore[index, operator]
    on = torch.cat([first, second], 1) > 0
    k = np.array([[sum(bool(a == b) for a, b in zip(on[i], on[j], strict=True)) for j in range(7)] for i in range(7)])
    assert np.array_equal(ActivationKernel().kernel(net, batch).numpy(), k)
    assert ActivationKernel()(net, batch) == pytest.approx(math.log(abs(np.linalg.det(k.astype(float)))), rel=1e-9)


class Rectifiers(nn.Module):
    """One layer behind a rectifier of one's choice."""

    def __init__(self, rectify: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rectify = rectify
        with isolated(0):
            self.layer, self.head = nn.Linear(6, 8).double(), nn.Linear(8, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rectify(self.layer(x)))


@pytest.mark.parametrize(
    "rectify",
    [
        F.relu,
        torch.relu_,
        nn.ReLU(inplace=True),
        nn.ReLU6(),
        nn.LeakyReLU(),
        nn.PReLU().double(),
        lambda x: x.clamp(min=0),
        lambda x: torch.clamp_min(x, 0.0),
        nn.Hardtanh(0.0, 2.0),
    ],
)
def test_rectifiers_count_however_they_are_written(rectify: Callable[[Tensor], Tensor]) -> None:
    plain = ActivationKernel().kernel(Rectifiers(torch.relu), vectors())
    assert torch.equal(ActivationKernel().kernel(Rectifiers(rectify), vectors()), plain)


def test_smooth_functions_have_no_patterns() -> None:
    assert ActivationKernel()(Rectifiers(torch.tanh), vectors()) == -math.inf
    assert LinearRegions()(Rectifiers(torch.tanh), vectors()) == 1.0


def test_regions_of_one_layer_are_the_hyperplanes_between_two_inputs() -> None:
    net, batch = Rectifiers(torch.relu), vectors(4)
    on = net.layer(batch.x) > 0
    crossed = [int((on[i] != on[(i + 1) % 4]).sum()) for i in range(4)]
    assert LinearRegions(points=1)(net, batch) == LinearRegions(points=50)(net, batch) == 1 + sum(crossed) / 4


def test_regions_of_a_deep_net_by_brute_force() -> None:
    net, batch = mlp(3), vectors(3, seed=2)
    counts = []
    for i in range(3):
        t = torch.linspace(0, 1, 20001, dtype=torch.float64)[:, None]
        x = batch.x[i] * (1 - t) + batch.x[(i + 1) % 3] * t
        first = net[0](x)  # type: ignore[index, operator]
        on = (torch.cat([first, net[2](first.relu())], 1) > 0).int()  # type: ignore[index, operator]
        counts.append(1 + int((on[1:] != on[:-1]).any(1).sum()))  # pieces of the way, each with one pattern
    assert LinearRegions(points=2000)(net, batch) == pytest.approx(sum(counts) / 3)


# -- the tangent kernel -----------------------------------------------------------------------------------------------


def test_the_tangent_kernel_is_that_of_the_explicit_jacobian() -> None:
    net, batch = mlp(), vectors()
    named = {n: p.detach() for n, p in net.named_parameters()}
    found = torch.func.jacrev(lambda w: torch.func.functional_call(net, w, (batch.x,)).sum(1))(named)
    j = torch.cat([found[n].flatten(1) for n in named], 1)
    assert torch.allclose(TangentCondition().kernel(net, batch), j @ j.T, rtol=1e-10)
    values = torch.linalg.eigvalsh(j @ j.T)
    assert TangentCondition()(net, batch) == pytest.approx(float(values[-1] / values[0]), rel=1e-6)


def test_batch_norm_couples_the_samples_of_the_tangent_kernel() -> None:
    net, batch = conv_net(), images()
    trained = copy.deepcopy(net).train()
    trained.apply(lambda m: m.eval() if isinstance(m, nn.Dropout) else None)
    held = list(trained.parameters())
    rows = []
    for i in range(len(batch.x)):
        outputs = trained(batch.x)
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(outputs[i].sum(), held)]))
    j = torch.stack(rows)
    assert torch.allclose(TangentCondition().kernel(net, batch), j @ j.T, rtol=1e-8)


# -- features ---------------------------------------------------------------------------------------------------------


def test_features_are_what_the_last_pooling_reads_else_the_last_layer() -> None:
    net, batch = conv_net().eval(), images()
    with Features() as seen:
        net(batch.x)
    assert torch.equal(seen.found, net[:5](batch.x).detach())  # type: ignore[index]
    with Features() as seen:
        mlp()(vectors().x)
    assert torch.equal(seen.found, mlp()[:4](vectors().x).detach())  # type: ignore[index]
    with Features() as seen:
        torch.ones(4, 3, 5, 5).relu().mean((2, 3)) @ torch.ones(3, 2)
    assert seen.found.shape == (4, 3, 5, 5)
    with pytest.raises(UsageError, match="neither pools"), Features() as seen:
        seen.found  # noqa: B018


def test_complexity_of_a_linear_map_is_known() -> None:
    layer = nn.Conv2d(2, 3, 1, bias=True).double()
    net = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3).double())
    coarse, fine = (GaussianComplexity(step=s)(net, images()) for s in (0.02, 0.01))
    assert coarse - fine == pytest.approx(math.log(2.0), abs=1e-9)


def test_complexity_puts_back_what_batch_norm_takes_out() -> None:
    def net(norm: bool) -> nn.Module:
        with isolated(0):
            layers: list[nn.Module] = [nn.Conv2d(2, 64, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(64)] if norm else []
            return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 3))

    batch = proxies.noise((2, 16, 16), 3, 16)
    with_norm, without = GaussianComplexity()(net(True), batch), GaussianComplexity()(net(False), batch)
    v = 2 * 9.0  # of a convolution of standard normal inputs and weights, away from the border
    put_back = 0.5 * math.log(0.9 + 0.1 * v) - 0.5 * math.log(v)
    assert with_norm - without == pytest.approx(put_back, abs=0.1)


# -- a teacher --------------------------------------------------------------------------------------------------------


def test_a_teacher_is_most_like_itself_in_any_order_of_the_samples() -> None:
    teacher, batch = conv_net(4), images()
    part = TeacherSimilarity(teacher)
    assert part(copy.deepcopy(teacher), batch) == 0.0 == part(conv_net(8), batch)  # weights are drawn anew, alike
    with isolated(0):
        other = nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
        ).double()
    found = part(other, batch)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert found < -0.1 and part(other, Batch(batch.x[order], batch.y[order])) == pytest.approx(found, rel=1e-9)


def test_similarity_is_that_of_samples_and_of_classes() -> None:
    batch = images()

    def views(net: nn.Module) -> list[Tensor]:
        with private(net, 3) as double, torch.no_grad():
            gaussian(double)
            features = double[:5](batch.x)  # type: ignore[index]
            pooled = features.mean((2, 3))
            wrong = (pooled @ double[8].weight.T).softmax(1) - F.one_hot(batch.y, 3)  # type: ignore[index, union-attr]
        slope, flat = wrong.T @ pooled / 6, features.flatten(1)
        return [m @ m.T / (m @ m.T).norm(dim=1, keepdim=True) for m in (slope, flat)]

    teacher, student = conv_net(1), conv_net(2)
    student[0] = nn.Conv2d(2, 4, 1).double()  # type: ignore[index]
    expected = -sum(float((t - s).norm()) for t, s in zip(views(teacher), views(student), strict=True))
    assert TeacherSimilarity(teacher)(student, batch, 3) == pytest.approx(expected, rel=1e-9) and expected < -0.1


def test_the_teacher_is_the_largest_network_of_the_space() -> None:
    model = tiny_model()
    found = largest(model, torch.zeros(1, 1, 5, 5, dtype=torch.float64))
    assert dict(found) == {"body": "wide", "node": ("1", "2")}
    batch = Batch(torch.randn(6, 1, 5, 5, generator=stream(0, "x"), dtype=torch.float64), torch.arange(6) % 4)
    part = TeacherSimilarity().among(model, batch)
    assert part(extract(model, found), batch) == 0.0
    with pytest.raises(UsageError, match="teacher"):
        TeacherSimilarity()(conv_net(), batch)
    with pytest.raises(UsageError, match="linear layer"):
        part(nn.Sequential(nn.Conv2d(1, 4, 5), nn.Flatten()).double(), batch)


# -- laws of all ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, part", every())
def test_a_network_stays_as_it_was(name: str, part: Proxy) -> None:
    net, batch = conv_net(), images()
    net[3].weight.requires_grad_(False)  # type: ignore[union-attr]
    net[4].eval()  # type: ignore[index, union-attr]
    for p in net.parameters():
        p.grad = torch.full_like(p, 0.5)
    calls: list[int] = []
    net[0].register_forward_hook(lambda *_: calls.append(1))  # type: ignore[index, union-attr]
    held = {**dict(net.named_parameters()), **dict(net.named_buffers()), "x": batch.x, "y": batch.y}
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in net.modules()]
    kinds = [type(m) for m in net.modules()]
    with untouched(name, held, models=[net]):
        part(net, batch, 3)
    assert [type(m) for m in net.modules()] == kinds
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in net.modules()]
    assert all(m.track_running_stats for m in net.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("name, part", every())
def test_a_score_is_a_function_of_network_batch_and_seed(name: str, part: Proxy) -> None:
    net, batch = conv_net(), images()
    found = part(net, batch, 3)
    assert math.isfinite(found) and part(copy.deepcopy(net).eval(), batch, 3) == found
    torch.rand(5)
    with torch.no_grad():
        assert part(net, batch, 3) == found
    assert part.direction in ("max", "min") and part.passes(8) >= 0


@pytest.mark.parametrize("name", ["jacob_cov", "naswot", "ntk", "epe_nas", "grad_norm", "snip", "grasp", "fisher"])
def test_the_order_of_the_samples_does_not_count(name: str) -> None:
    net, batch, order = conv_net(), images(), torch.tensor([3, 1, 5, 0, 2, 4])
    part = proxies.named(name)
    assert part(net, Batch(batch.x[order], batch.y[order])) == pytest.approx(part(net, batch), rel=1e-6)


@pytest.mark.parametrize("name", ["grad_norm", "snip", "synflow", "l2_norm", "params"])
def test_frozen_weights_do_not_count(name: str) -> None:
    net, batch, part = conv_net(), images(), proxies.named(name)
    before = part(net, batch)
    net[3].weight.requires_grad_(False)  # type: ignore[union-attr]
    assert part(net, batch) < before
    for p in net.parameters():
        p.requires_grad_(False)
    if name != "params":
        with pytest.raises(UsageError, match="no trainable weights"):
            part(net, batch)


def test_single_precision_agrees_with_double() -> None:
    net, batch = conv_net(), images()
    single, x = copy.deepcopy(net).float(), Batch(batch.x.float(), batch.y)
    for name, part in every():
        if name not in ("zen", "diswot"):  # random weights of another type are other weights
            assert part(single, x) == pytest.approx(part(net, batch), rel=1e-3), name


def test_names() -> None:
    assert proxies.named("regions:points=3") == LinearRegions(points=3)
    assert proxies.named("Grad-Norm") == GradientNorm() == proxies.named(GradientNorm())
    assert proxies.labels(["regions:points=3", SynapticFlow()]) == ("regions", "synflow")
    with pytest.raises(UsageError, match="did you mean 'synflow'"):
        proxies.named("sinflow")
    with pytest.raises(UsageError, match="points"):
        proxies.named("regions:points=0")
    with pytest.raises(UsageError, match="a proxy is a part"):
        proxies.named(3)  # type: ignore[arg-type]


def test_noise_is_a_function_of_its_seed() -> None:
    a, b = proxies.noise((3, 4, 4), 7, 5, 2), proxies.noise((3, 4, 4), 7, 5, 2)
    assert a.x.shape == (5, 3, 4, 4) and same_bits(a.x, b.x) and same_bits(a.y, b.y) and int(a.y.max()) < 7
    assert not same_bits(a.x, proxies.noise((3, 4, 4), 7, 5, 3).x)
