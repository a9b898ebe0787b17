"""The node in bundled calls of torch beside its twin: values, statistics, derivatives, and how few calls they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from node_problems import CHAINS, HALVING, KEEPING, Problem, dense, measured, worst
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mimar import nets
from mimar.core.streams import isolated, stream
from mimar.kernels import native
from mimar.kernels.bundled import bundled
from mimar.kernels.programs import Program, Term
from mimar.kernels.stages import Chain, run_plainly
from mimar.nets.operations import DARTS, build
from mimar.space import DARTS_OPERATIONS
from mimar.supernet import Fused, Reference, Supernet, fused
from mimar.supernet.bundles import bundle
from mimar.testing.supernet import _agrees_with_reference

MORE = ("separable 3", "maximum", "identity")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-4}


def together(problem: Problem) -> Callable[..., Tensor]:
    def run(leaves: Sequence[Tensor], *, update: bool = False) -> Tensor:
        n = 1 + problem.sources
        return bundled(problem.program, leaves[0], leaves[1:n], leaves[n:], update=update)

    return run


def weights(terms: Sequence[Term]) -> list[Tensor]:
    return [w for term in terms for stage in term.chain for _, w in stage.weights()]


# --- equal to the twin ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", CHAINS)
def test_two_of_every_chain_equal_their_twin(name: str, training: bool) -> None:
    problem = Problem([name, name], 2 if name == "phases" else 1, training=training)
    assert worst(measured(problem, together(problem)), measured(problem, problem.plain)) < TOLERANCE[torch.float64]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("stride", [1, 2])
def test_nodes_of_all_stages_equal_their_twin(stride: int, training: bool, dtype: torch.dtype) -> None:
    names = KEEPING + KEEPING[::-1] if stride == 1 else HALVING * 2
    problem = Problem(names, stride, training=training, dtype=dtype, extra=MORE)
    assert worst(measured(problem, together(problem)), measured(problem, problem.plain)) < TOLERANCE[dtype]


def test_a_third_derivative_is_that_of_the_twin() -> None:
    problem = Problem(["separable 3", "separable 3", "wide average", "identity"], channels=2, sides=(3, 4), batch=2)
    found = []
    for run in (together(problem), problem.plain):
        value = torch.tanh(run(problem.leaves)).sum()
        for _ in range(2):
            value = sum(g.square().sum() for g in torch.autograd.grad(value, problem.leaves, create_graph=True))
        found.append(torch.autograd.grad(value, problem.leaves))
    assert worst({"third": list(found[0])}, {"third": list(found[1])}) < 1e-10


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_output_has_the_layout_of_the_first_source(layout: torch.memory_format) -> None:
    problem = Problem(KEEPING)
    leaves = [t.detach().contiguous(memory_format=layout) if t.dim() == 4 else t.detach() for t in problem.leaves]
    y = together(problem)(leaves)
    assert y.is_contiguous(memory_format=layout)
    torch.testing.assert_close(y, problem.plain(leaves).detach(), rtol=1e-12, atol=1e-12)


def test_statistics_stay_without_update() -> None:
    problem = Problem(KEEPING)
    before = [b.clone() for b in problem.buffers]
    together(problem)(problem.leaves)
    assert all(torch.equal(a, b) for a, b in zip(before, problem.buffers, strict=True))


def test_a_norm_that_stands_twice_moves_twice_in_the_order_of_terms() -> None:
    with isolated(0):
        first, common = dense(3, 3, 1), dense(3, 3, 3)
        x = torch.randn(2, 3, 4, 4).double()
    chains: list[Chain] = [(first, common), (common,), (common,), ()]
    norms = [stage.norm for stage in (first, common) if stage.norm is not None]
    for m in (*first.modules, *common.modules):
        m.double()
    terms = [Term(0, j, chain) for j, chain in enumerate(chains)]
    program, coef = Program(terms, [x.shape], x.dtype, len(terms)), torch.rand(4, generator=stream(0)).double()
    found = []
    for plainly in (False, True):
        for norm in norms:
            norm.reset_running_stats()
        if plainly:
            y = sum(coef[j] * run_plainly(chain, x) for j, chain in enumerate(chains))
        else:
            y = bundled(program, coef, [x], weights(terms), update=True)
        found.append([y, *(b.clone() for n in norms for b in (n.running_mean, n.running_var))])
    assert worst({"all": found[0]}, {"all": found[1]}) < 1e-12


# --- few calls --------------------------------------------------------------------------------------------------------


class Calls(TorchDispatchMode):
    """Counts the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[func._schema.name.split("::")[1]] += 1
        return func(*args, **(kwargs or {}))

    def of(self, *words: str) -> int:
        return sum(count for name, count in self.seen.items() if any(word in name for word in words))


def darts_node(edges: int = 5, channels: int = 4) -> tuple[list[Term], list[Tensor]]:
    """The last node of a DARTS cell: every edge with all operations, each edge from a source of its own."""
    with isolated(0):
        names = ("noise", *DARTS_OPERATIONS)
        modules = [build(DARTS, name, channels, 1, False) for _ in range(edges) for name in names]
        xs = [torch.randn(2, channels, 5, 5).double().requires_grad_() for _ in range(edges)]
    found = [(i // len(names), bundle(module.double())) for i, module in enumerate(modules)]
    told = [(source, b.chain) for source, b in found if b.chain is not None]
    return [Term(source, j, chain) for j, (source, chain) in enumerate(told)], xs


def test_a_node_of_many_edges_is_few_calls() -> None:
    terms, xs = darts_node()
    coef = torch.rand(len(terms), generator=stream(0)).double().requires_grad_()
    program, own = Program(terms, [x.shape for x in xs], coef.dtype, len(terms)), weights(terms)
    seen, slopes = [], []
    for run in (
        lambda: bundled(program, coef, xs, own, update=False),
        lambda: sum(coef[t.coef] * run_plainly(t.chain, xs[t.source]) for t in terms),
    ):
        with Calls() as forward:
            y = run()
        with Calls() as backward:
            slopes.append(torch.autograd.grad(y.square().sum(), [coef, *xs, *own]))
        seen.append((forward, backward))
    assert worst({"all": list(slopes[0])}, {"all": list(slopes[1])}) < 1e-12
    (forward, backward), (plain, plain_back) = seen
    # separable convolutions of 3 and 5 twice each, dilated ones of 3 and 5 once: six stages of two convolutions
    assert forward.of("convolution", "depthwise") == 12 and plain.of("convolution", "depthwise") == 5 * 12
    assert (
        backward.of("convolution_backward", "depthwise_") == 6 + 2 * 6
    )  # those of the depthwise one are two operators
    assert plain_back.of("convolution_backward") == 5 * 12
    assert forward.of("batch_norm") == 8 and plain.of("batch_norm") == 5 * 8
    assert forward.of("pool") == 2 and forward.of("relu") == 3  # of all sources; and within two kinds of chains
    assert forward.seen["cat"] == 2 + 12  # sources and options; of every stage the weights
    assert sum(forward.seen.values()) < sum(plain.seen.values()) / 3


# --- in a supernet ----------------------------------------------------------------------------------------------------

SMALL = {"darts_small": nets.darts_small, "nasbench201_small": nets.nasbench201_small}


def small(name: str) -> nn.Module:
    with isolated(0):
        more = {"nodes": 2} if name == "darts_small" else {}
        return SMALL[name](channels=4, in_channels=2, classes=3, **more)


def pictures() -> Tensor:
    return torch.randn(4, 2, 6, 5, generator=stream(1))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of terms of every node that ran bundled."""
    seen: list[int] = []

    def counted(program: Program, *args: Any, **more: Any) -> Tensor:
        seen.append(len(program.terms))
        return bundled(program, *args, **more)

    monkeypatch.setattr(fused, "bundled", counted)
    return seen


@pytest.mark.parametrize("name", SMALL)
def test_without_the_library_the_supernet_equals_the_reference(
    name: str, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "compiled", lambda: None)
    _agrees_with_reference(small(name), (pictures(),), Supernet, (torch.float64,), 0)
    assert runs and min(runs) > 1


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("cast", [True, False], ids=["autocast", "tensors"])
def test_bfloat16_is_close_to_the_reference(name: str, cast: bool, runs: list[int]) -> None:
    model, x = small(name), torch.randn(8, 2, 12, 12, generator=stream(1))
    model.bfloat16()  # so that all types see the same weights
    exact, rounded = [], []
    for engine in (Fused(), Reference()):
        for dtype, found in ((torch.float32, exact), (torch.bfloat16, rounded)):
            net = Supernet(model.to(torch.float32 if cast else dtype), engine=engine)
            kind = net.weights[0].dtype
            gates = {c.name: torch.linspace(0.2, 0.9, len(c.options)).to(kind) for c in net.space.choices}
            held = [g.requires_grad_() for g in gates.values()]
            with torch.autocast("cpu", torch.bfloat16, enabled=cast and dtype == torch.bfloat16):
                y, after = net.call(net.weights, gates, x.to(kind), update=True)
            slopes = torch.autograd.grad(y.float().square().sum(), held)
            found.append([torch.cat([t.detach().float().flatten() for t in part]) for part in ([y], slopes, after)])
    ours, theirs = rounded
    for own, reference, truth in zip(ours, theirs, exact[1], strict=True):  # output, gradient of the gates, buffers
        error, gap = (float((t - truth).norm() / truth.norm()) for t in (reference, own))
        assert 0 < gap < 2 * error < 0.5
    assert runs
