"""The compiled node beside its pure-torch twin: values, statistics, derivatives of both orders, and checks that can fail."""

from __future__ import annotations

import ctypes
import gc
import itertools
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimar.core.derivatives import Curvature
from mimar.core.streams import isolated, stream
from mimar.core.trees import dot
from mimar.kernels import memory, native
from mimar.kernels.native import Pass
from mimar.kernels.node import node
from mimar.kernels.programs import AT, IN, SOURCE, Program, Term
from mimar.kernels.stages import Chain, Stage, run_plainly

pytestmark = pytest.mark.skipif(native.compiled() is None, reason="the compiled kernels were not built")
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-4}
PASSES = (Pass.FORWARD, Pass.BACKWARD, Pass.TANGENT, Pass.TANGENT_BACKWARD)

# --- nodes of every kind ---------------------------------------------------------------------------------------------


def separable(channels: int, kernel: int, stride: int = 1, dilation: int = 1, *, affine: bool = True) -> Stage:
    depthwise = nn.Conv2d(channels, channels, kernel, stride, dilation * (kernel // 2), dilation, channels, bias=False)
    dense = nn.Conv2d(channels, channels, 1, bias=False)
    return Stage("conv", True, depthwise, dense, nn.BatchNorm2d(channels, affine=affine), kernel, stride, dilation)


def dense(inputs: int, outputs: int, kernel: int, *, relu: bool = True, norm: bool = True) -> Stage:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return Stage("conv", relu, None, conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.3) if norm else None)


def pool(kind: Any, channels: int, kernel: int, stride: int, *, norm: bool = True, affine: bool = False) -> Stage:
    found = nn.BatchNorm2d(channels, affine=affine, eps=1e-2) if norm else None
    return Stage(kind, norm=found, kernel=kernel, stride=stride)


def phases(channels: int) -> Stage:
    even, odd = (nn.Conv2d(channels, n, 1, 2, bias=False) for n in (channels // 2, channels - channels // 2))
    return Stage("phases", True, even, odd, nn.BatchNorm2d(channels, affine=False), stride=2)


CHAINS: dict[str, Callable[[int, int], Chain]] = {  # by (channels, stride)
    "separable 3": lambda c, s: (separable(c, 3, s), separable(c, 3)),
    "separable 5": lambda c, s: (separable(c, 5, s, affine=False), separable(c, 5, affine=False)),
    "dilated 3": lambda c, s: (separable(c, 3, s, 2),),
    "dilated 5": lambda c, s: (separable(c, 5, s, 2, affine=False),),
    "average": lambda c, s: (pool("average", c, 3, s),),
    "maximum": lambda c, s: (pool("maximum", c, 3, s),),
    "bare average": lambda c, s: (pool("average", c, 3, s, norm=False),),
    "bare maximum": lambda c, s: (pool("maximum", c, 3, s, norm=False),),
    "wide average": lambda c, s: (pool("average", c, 5, s, affine=True),),
    "wide maximum": lambda c, s: (pool("maximum", c, 5, s, affine=True), separable(c, 3)),
    "phases": lambda c, s: (phases(c),),
    "one by one": lambda c, s: (dense(c, c, 1),),
    "three by three": lambda c, s: (dense(c, c, 3), dense(c, c, 3, relu=False, norm=False)),
    "bottleneck": lambda c, s: (dense(c, 2 * c + 1, 1, relu=False), dense(2 * c + 1, c, 5)),
    "identity": lambda c, s: (),
}
HALVING = ("separable 3", "separable 5", "dilated 3", "dilated 5", "average", "maximum", "bare average", "bare maximum")
HALVING += ("wide average", "wide maximum", "phases")
KEEPING = tuple(name for name in CHAINS if name != "phases")


@dataclass
class Problem:
    """A node with its arguments: chains of stride 2 read x, those of stride 1 read x too, or z where x is halved."""

    names: Sequence[str]
    stride: int = 1
    channels: int = 5
    sides: tuple[int, int] = (6, 7)
    batch: int = 3
    dtype: torch.dtype = torch.float64
    training: bool = True
    extra: Sequence[str] = ()  # chains of stride 1 that read z, of the shape of the output
    leaves: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        with isolated(0):
            chains = [CHAINS[n](self.channels, self.stride) for n in self.names]
            chains += [CHAINS[n](self.channels, 1) for n in self.extra]
            h, w = self.sides
            small = (-(-h // self.stride), -(-w // self.stride))
            shapes = [(self.batch, self.channels, *s) for s in (self.sides, small)][: 2 if self.extra else 1]
            stages = [stage for chain in chains for stage in chain]
            for m in (m for stage in stages for m in stage.modules):
                m.to(self.dtype).train(self.training)
            self.norms = [s.norm for s in stages if s.norm is not None]
            for t in itertools.chain(*((n.weight, n.bias) for n in self.norms if n.affine)):
                t.data.add_(0.3 * torch.randn_like(t))
            for norm in self.norms:
                norm.running_mean.normal_(0, 0.3)
                norm.running_var.uniform_(0.5, 1.5)
            xs = [torch.randn(s, dtype=self.dtype).contiguous(memory_format=torch.channels_last) for s in shapes]
            coef = torch.rand(len(chains), dtype=self.dtype) + 0.1
        self.terms = [Term(int(j >= len(self.names)), j, chain) for j, chain in enumerate(chains)]
        self.program = Program(self.terms, [x.shape for x in xs], self.dtype, len(chains))
        self.sources = len(xs)
        weights = [w for stage in stages for _, w in stage.weights()]
        self.leaves = [t.detach().requires_grad_() for t in (coef, *xs, *weights)]
        self.places = [place for stage in stages for place in stage.places()]

    @property
    def groups(self) -> dict[str, list[Tensor]]:
        n = 1 + self.sources
        return {"gates": self.leaves[:1], "sources": self.leaves[1:n], "weights": self.leaves[n:]}

    def fused(self, leaves: Sequence[Tensor], *, update: bool = False) -> Tensor:
        n = 1 + self.sources
        return node(self.program, leaves[0], leaves[1:n], leaves[n:], {}, update=update)

    def plain(self, leaves: Sequence[Tensor], *, update: bool = False) -> Tensor:
        places = [(n._buffers, b) for n in self.norms for b in ("running_mean", "running_var")]
        own = [where[name] for where, name in (*self.places, *places)]
        copies = [b.clone() for b in self.buffers]  # autograd keeps those that it has read
        for (where, name), t in zip((*self.places, *places), (*leaves[1 + self.sources :], *copies), strict=True):
            where[name] = t
        try:
            return sum(leaves[0][t.coef] * run_plainly(t.chain, leaves[1 + t.source]) for t in self.terms)
        finally:
            for (where, name), t in zip((*self.places, *places), own, strict=True):
                where[name] = t
            if update:
                self.restore(copies)

    @property
    def buffers(self) -> list[Tensor]:
        return [b for n in self.norms for b in (n.running_mean, n.running_var)]

    def restore(self, buffers: Sequence[Tensor]) -> None:
        for b, old in zip(self.buffers, buffers, strict=True):
            b.copy_(old)


Found = dict[str, list[Tensor]]


def measured(problem: Problem, run: Callable[..., Tensor]) -> Found:
    """Return output, running statistics, gradients, and products of the second derivatives with every group of inputs."""
    rng, leaves = stream(0, "directions"), problem.leaves
    before = [b.clone() for b in problem.buffers]
    y = run(leaves, update=True)
    found = {"output": [y], "statistics": [b.clone() for b in problem.buffers]}
    problem.restore(before)
    target = torch.randn(y.shape, generator=rng, dtype=torch.float64).to(y.dtype)
    loss = (torch.tanh(y) * target).sum()
    found["gradient"] = list(torch.autograd.grad(loss, leaves, retain_graph=True))
    slopes = torch.autograd.grad(loss, leaves, create_graph=True)
    found["gradient with graph"] = list(slopes)
    begin = 0
    for name, part in problem.groups.items():
        own, begin = slopes[begin : begin + len(part)], begin + len(part)
        if part:
            along = [torch.randn(t.shape, generator=rng, dtype=torch.float64).to(t.dtype) for t in part]
            found[f"{name} product"] = list(torch.autograd.grad(dot(own, along), leaves, retain_graph=True))
    return {name: [t.detach().double() for t in tensors] for name, tensors in found.items()}


def worst(found: Found, wanted: Found) -> float:
    """Return the largest relative difference of any tensor, on the scale of its group where it is tiny; inf for NaN."""
    gaps = [0.0]
    found, wanted = ({n: [t.detach() for t in ts] for n, ts in one.items()} for one in (found, wanted))
    for name, tensors in wanted.items():
        floor = 1e-3 * max((float(t.norm()) for t in tensors), default=0.0)
        pairs = zip(found[name], tensors, strict=True)
        gaps += [float((a - b).norm()) / (max(float(b.norm()), floor) or 1.0) for a, b in pairs]
    return max(gap if math.isfinite(gap) else math.inf for gap in gaps)


def gap(problem: Problem) -> float:
    """Return how far the compiled node is from its twin."""
    return worst(measured(problem, problem.fused), measured(problem, problem.plain))


# --- equal to the twin -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    ("name", "stride"), [*((n, 1) for n in KEEPING), *((n, 2) for n in HALVING)], ids=lambda v: str(v)
)
def test_every_stage_equals_its_twin(name: str, stride: int, training: bool) -> None:
    assert gap(Problem([name], stride, training=training)) < TOLERANCE[torch.float64]


SIZES: dict[str, dict[str, Any]] = {
    "usual": {"channels": 16, "sides": (8, 8), "batch": 2},
    "odd": {"channels": 5, "sides": (7, 4)},
    "more than vectors hold": {"channels": 20, "sides": (5, 5)},
    "one picture": {"channels": 3, "sides": (5, 3), "batch": 1},
    "one pixel": {"channels": 3, "sides": (1, 1), "batch": 4},
    "one row": {"channels": 2, "sides": (1, 9)},
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_nodes_of_all_stages_equal_their_twin(size: str, stride: int, training: bool, dtype: torch.dtype) -> None:
    more: dict[str, Any] = {"training": training, "dtype": dtype, **SIZES[size]}
    if size == "one pixel":
        more["batch"] = 8  # norms of one pixel see as many numbers as there are pictures
    problem = Problem(KEEPING if stride == 1 else HALVING, stride, extra=("separable 3", "maximum", "identity"), **more)
    assert gap(problem) < TOLERANCE[dtype]


def test_a_norm_without_running_statistics_looks_at_the_batch_always() -> None:
    stage = separable(4, 3)
    stage.norm.__init__(4, track_running_stats=False, dtype=torch.float64)  # type: ignore[misc]
    conv = [m.double().eval() for m in stage.modules]
    assert len(conv) == 3 and stage.batch
    x = torch.randn(2, 4, 5, 5, generator=stream(0)).double().contiguous(memory_format=torch.channels_last)
    program = Program([Term(0, 0, (stage,))], [x.shape], x.dtype, 1)
    y = node(program, torch.ones(1).double(), [x], [w for _, w in stage.weights()], {}, update=True)
    torch.testing.assert_close(y, run_plainly((stage,), x), rtol=1e-12, atol=1e-12)


def test_statistics_stay_without_update_and_pools_are_made_once() -> None:
    problem = Problem(["average", "average", "maximum", "separable 3"])
    before = [b.clone() for b in problem.buffers]
    passes: list[Pass] = []
    execute = native.execute
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "execute", lambda words, what: (passes.append(what), execute(words, what))[1])
        pools: dict[Any, Any] = {}
        for _ in range(2):
            node(problem.program, problem.leaves[0], problem.leaves[1:2], problem.leaves[2:], pools, update=False)
    assert all(torch.equal(a, b) for a, b in zip(before, problem.buffers, strict=True))
    assert passes.count(Pass.POOL) == 2 and passes.count(Pass.FORWARD) == 2


@pytest.mark.parametrize(
    ("terms", "sizes", "said"),
    [
        ([Term(0, 0, (separable(4, 3),))], [(2, 5, 4, 4)], "does not fit the channels"),
        ([Term(0, 0, (dense(4, 4, 1),))], [(2, 5, 4, 4)], "does not fit the channels"),
        ([Term(0, 0, (dense(4, 5, 1),)), Term(0, 1, ())], [(2, 4, 4, 4)], "different shapes"),
        ([Term(0, 0, (separable(4, 3, 2),)), Term(1, 1, ())], [(2, 4, 5, 5), (2, 4, 2, 2)], "different shapes"),
        ([Term(0, 0, (dense(4, 4, 1), pool("average", 4, 3, 1)))], [(2, 4, 4, 4)], "must be the first stage"),
        ([Term(0, 0, (pool("average", 3, 3, 1),))], [(2, 4, 4, 4)], "batch norm does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(terms: list[Term], sizes: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Program(terms, [torch.Size(s) for s in sizes], torch.float32, len(terms))


# --- the same everywhere ---------------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def big(dtype: torch.dtype = torch.float64) -> Problem:
    more = {"channels": 16, "sides": (9, 9), "batch": 4, "dtype": dtype}  # enough for a second thread
    return Problem(KEEPING, extra=("maximum", "dilated 3"), **more)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_results_repeat_to_the_last_bit_and_agree_over_threads(dtype: torch.dtype, threads: Any) -> None:
    found = []
    for count in (1, 2, 3):
        threads(count)
        first, again = (measured(p, p.fused) for p in (big(dtype), big(dtype)))
        assert all(torch.equal(a, b) for n in first for a, b in zip(first[n], again[n], strict=True))
        found.append(first)
    assert max(worst(other, found[0]) for other in found[1:]) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("number", range(native.instruction_set() + 1), ids=lambda n: native.SETS[n])
def test_every_instruction_set_gives_the_same(number: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(KEEPING, channels=11, extra=("maximum", "dilated 3"), dtype=dtype)
    halving = Problem(HALVING, 2, channels=16, extra=("average", "separable 5"), dtype=dtype)
    monkeypatch.setattr(native, "instruction_set", lambda: number)
    assert max(gap(problem), gap(halving)) < TOLERANCE[dtype]


def test_derivatives_pass_the_checks_of_torch() -> None:
    problem = Problem(["separable 3", "wide average", "three by three", "maximum"], channels=2, sides=(3, 4), batch=2)

    def run(coef: Tensor, x: Tensor, *weights: Tensor) -> Tensor:
        return problem.fused([coef, x.contiguous(memory_format=torch.channels_last), *weights])

    assert torch.autograd.gradcheck(run, problem.leaves)
    assert torch.autograd.gradgradcheck(run, problem.leaves, fast_mode=True)


# --- what autograd may ask --------------------------------------------------------------------------------------------


def tanh_loss(y: Tensor) -> Tensor:
    return (torch.tanh(y) * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum()


@pytest.mark.parametrize("group", ["gates", "sources", "weights"])
def test_one_group_alone_gets_the_same(group: str) -> None:
    """First and second derivatives asked of gates, sources or weights only, with everything else frozen or not."""
    problem = Problem(["separable 3", "average", "one by one", "identity"], extra=("maximum",))
    full = measured(problem, problem.fused)
    for frozen in (False, True):
        asked = {id(t) for t in problem.groups[group]}
        leaves = [t.detach().requires_grad_(not frozen or id(t) in asked) for t in problem.leaves]
        own = [t for t, old in zip(leaves, problem.leaves, strict=True) if id(old) in asked]
        at = [i for i, old in enumerate(problem.leaves) if id(old) in asked]
        rng = stream(0, "directions")
        y = problem.fused(leaves)
        target = torch.randn(y.shape, generator=rng, dtype=torch.float64)
        slopes = torch.autograd.grad((torch.tanh(y) * target).sum(), own, create_graph=True)
        for i, slope in zip(at, slopes, strict=True):
            torch.testing.assert_close(slope, full["gradient"][i], rtol=1e-11, atol=1e-11)
        for name, part in problem.groups.items():  # the directions are drawn as in `measured`
            along = [torch.randn(t.shape, generator=rng, dtype=torch.float64) for t in part]
            if name == group:
                products = torch.autograd.grad(dot(slopes, along), own)
                for i, product in zip(at, products, strict=True):
                    torch.testing.assert_close(product, full[f"{name} product"][i], rtol=1e-11, atol=1e-11)


def test_what_is_not_asked_for_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, asked = Problem(["separable 3", "one by one", "identity"]), []
    execute = native.execute

    def spy(words: array[int], what: Pass) -> None:
        if what in (Pass.BACKWARD, Pass.TANGENT_BACKWARD):
            where = {n: at for n, at in addresses(words).items() if n.startswith("g_") and n != "g_y"}
            asked.append({n for n, at in where.items() if any(words[i] for i in at)})
        execute(words, what)

    monkeypatch.setattr(native, "execute", spy)
    coef, *others = problem.leaves
    y = problem.fused([coef, *(t.view_as(t) for t in others)])  # of a leaf autograd cannot tell
    slope = torch.autograd.grad(tanh_loss(y), [coef], create_graph=True)[0]
    torch.autograd.grad(slope.square().sum(), [coef])
    assert asked == [{"g_coef"}, {"g_coef"}]


def test_outputs_used_several_times() -> None:
    """Two nodes in a row, both outputs used again, and two gradients of one graph in one product."""
    first, second = Problem(["separable 3", "average"]), Problem(["maximum", "three by three"])
    found = []
    for kind in ("fused", "plain"):
        leaves = [*first.leaves, second.leaves[0], *second.leaves[2:]]
        y = getattr(first, kind)(first.leaves)
        z = getattr(second, kind)([second.leaves[0], y, *second.leaves[2:]])
        loss = tanh_loss(z) + (y * z).sum() + tanh_loss(y) + (y * y.detach()).sum()
        one = torch.autograd.grad(loss, leaves, create_graph=True)
        two = torch.autograd.grad((z * z).sum(), leaves, create_graph=True)
        both = sum((a * b.detach()).sum() + (b * b.detach()).sum() for a, b in zip(one, two, strict=True))
        found.append({"first": [*one, *two], "second": list(torch.autograd.grad(both, leaves))})
    assert worst(*found) < 1e-11


def test_third_derivatives_are_refused() -> None:
    problem = Problem(["separable 3", "identity"])
    for asked in (problem.leaves, problem.leaves[:1]):  # several, and a single one
        results = []
        for run in (problem.fused, problem.plain):
            slopes = torch.autograd.grad(tanh_loss(run(problem.leaves)), asked, create_graph=True)
            results.append(torch.autograd.grad(sum(s.square().sum() for s in slopes), asked, create_graph=True))
        for found, right in zip(*results, strict=True):  # that they could be asked for changes nothing
            torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-9)
        for unused in (False, True):  # zeros in its place would be a wrong number
            total = sum(b.sum() for b in results[0])
            with pytest.raises(RuntimeError, match=r"no third derivative; use Reference\(\)"):
                torch.autograd.grad(total, asked, allow_unused=unused, retain_graph=True)


def test_products_repeat_and_an_exception_leaves_nothing_behind() -> None:
    problem = Problem(["separable 3", "maximum", "one by one"], extra=("average", "identity"))
    n = 1 + problem.sources
    failing = [False]

    def hook(g: Tensor) -> None:
        if failing[0]:
            raise ArithmeticError("planted")

    def loss(w: Any, a: Any) -> Tensor:
        y = problem.fused([a[0], *problem.leaves[1:n], *w])
        y.register_hook(hook)
        return tanh_loss(a[1] * y)

    alphas = (problem.leaves[0], torch.tensor(0.7, dtype=torch.float64))
    curvature = Curvature(loss, problem.leaves[n:], alphas)
    u = [torch.randn(w.shape, generator=stream(1), dtype=torch.float64) for w in curvature.weights]
    v = [torch.randn(w.shape, generator=stream(2), dtype=torch.float64) for w in curvature.weights]
    hessian, mixed = curvature.hessian(u), curvature.mixed(u)
    failing[0] = True  # between the derivative of the pass back and the pass back that takes what it left
    with pytest.raises(ArithmeticError, match="planted"):
        curvature.hessian(v)
    failing[0] = False
    for again, before in ((curvature.hessian(u), hessian), (curvature.mixed(u), mixed)):
        assert all(torch.equal(a, b) for a, b in zip(again, before, strict=True))
    torch.testing.assert_close(dot(v, hessian), dot(u, curvature.hessian(v)), rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("asked", ["everything", "nothing before the node", "an exception"])
def test_no_memory_is_held_once_the_graph_is_gone(asked: str) -> None:
    def step() -> int:
        problem = Problem(["separable 3", "identity"], channels=16, sides=(16, 16), batch=8)
        scale = torch.ones((), dtype=torch.float64, requires_grad=True)
        y = problem.fused(problem.leaves)
        y.register_hook(lambda g: 1 / 0 if asked == "an exception" and not torch.is_grad_enabled() else None)
        slopes = torch.autograd.grad(tanh_loss(scale * y), problem.leaves, create_graph=True)
        inner = sum(s.square().sum() for s in slopes)
        try:
            torch.autograd.grad(inner, [scale] if asked.startswith("nothing") else problem.leaves)
        except ZeroDivisionError:
            assert asked == "an exception"
        return memory.POOL.used

    gc.collect()
    before = memory.POOL.used
    assert step() > before
    gc.collect()
    assert memory.POOL.used == before


# --- the checks can fail ---------------------------------------------------------------------------------------------


def addresses(words: Sequence[int]) -> dict[str, list[int]]:
    """Return where in the words every field stands, by its name; those of stages are lists along all stages."""
    found: dict[str, list[int]] = {name: [i] for i, name in enumerate(IN)}
    at = len(IN)
    for _ in range(words[IN["sources"]]):
        for i, name in enumerate(("x", "t_x", "g_x")):
            found.setdefault(name, []).append(at + i)
        at += len(SOURCE)
    for _ in range(words[IN["terms"]]):
        stages = words[at + 2]
        found.setdefault("coefs", []).append(at + 1)
        at += 3
        for _ in range(stages):
            for i, name in enumerate(AT):
                found.setdefault("stage " + name if name in IN else name, []).append(at + i)
            at += len(AT)
    return found


def planted_problem() -> Problem:
    names = (
        "separable 3",
        "separable 3",
        "dilated 3",
        "average",
        "wide maximum",
        "one by one",
        "one by one",
        "identity",
    )
    return Problem(names, extra=("separable 3", "maximum"))


@pytest.fixture(scope="module")
def truths() -> list[Found]:
    problems = (planted_problem(), Problem(["phases", "phases"], 2, channels=6))
    return [measured(problem, problem.plain) for problem in problems]


def zero(name: str) -> Callable[[array[int]], None]:
    def edit(words: array[int]) -> None:
        for at in addresses(words)[name]:
            words[at] = 0

    return edit


def swapped(name: str) -> Callable[[array[int]], None]:
    """Exchange two addresses of one field: of the two first terms, whose stages are of the same shapes."""

    def edit(words: array[int]) -> None:
        own = [at for at in addresses(words)[name] if words[at]]
        first, second = (own[0], own[1]) if name in ("x", "coefs") else (own[0], own[2])
        words[first], words[second] = words[second], words[first]

    return edit


def other_pool(words: array[int]) -> None:
    for at in addresses(words)["kind"]:
        words[at] = {1: 2, 2: 1}.get(words[at], words[at])


def no_dilation(words: array[int]) -> None:
    for at in addresses(words)["d"]:
        words[at] = 1


FAULTS: dict[str, Callable[[array[int]], None]] = {
    "relu left out": zero("relu"),
    "norm as in evaluation": zero("batch"),
    "another eps": zero("eps"),
    "no gamma": zero("gamma"),
    "no dilation": no_dilation,
    "coefficients exchanged": swapped("coefs"),
    "kernels exchanged": swapped("kernel"),
    "matrices exchanged": swapped("matrix"),
    "sources exchanged": swapped("x"),
    "statistics exchanged": swapped("stats"),
    "kept values exchanged": swapped("z"),
    "the other pool": other_pool,
}
DIRECTIONS = ("t_coef", "t_x", "t_kernel", "t_matrix", "t_gamma", "t_beta")
FAULTS |= {f"{name} forgotten": zero(name) for name in DIRECTIONS}
MADE = ("statistics exchanged", "kept values exchanged", "the other pool")  # by the pass forward itself
PLANTED = [
    (name, what)
    for what in PASSES
    for name in FAULTS
    if not (what == Pass.FORWARD and name in MADE) and (what >= Pass.TANGENT or not name.endswith("forgotten"))
]


def spoiled(patch: pytest.MonkeyPatch, what: Pass, before: Any = None, after: Any = None) -> list[int]:
    """Let every run of one pass begin with `before(words)` and end with `after(words)`; returns a list, one entry a run."""
    execute, runs = native.execute, []

    def run(words: array[int], current: Pass) -> None:
        words = words[:]
        if current == what and before:
            before(words)
        execute(words, current)
        if current == what and after:
            after(words)
        runs.extend([1] if current == what else [])

    patch.setattr(native, "execute", run)
    return runs


@pytest.mark.parametrize(("name", "what"), PLANTED, ids=lambda v: v.name if isinstance(v, Pass) else v)
def test_planted_faults_are_caught(name: str, what: Pass, truths: list[Found], monkeypatch: pytest.MonkeyPatch) -> None:
    problem = planted_problem()
    assert worst(measured(problem, problem.fused), truths[0]) < TOLERANCE[torch.float64]
    runs = spoiled(monkeypatch, what, before=FAULTS[name])
    assert worst(measured(problem, problem.fused), truths[0]) > 1e-6 and runs


@pytest.mark.parametrize("what", PASSES, ids=lambda v: v.name)
def test_phases_exchanged_are_caught(what: Pass, truths: list[Found], monkeypatch: pytest.MonkeyPatch) -> None:
    def exchanged(words: array[int]) -> None:
        where = addresses(words)
        for a, b in zip(where["kernel"], where["matrix"], strict=True):
            words[a], words[b] = words[b], words[a]

    problem = Problem(["phases", "phases"], 2, channels=6)
    spoiled(monkeypatch, what, before=exchanged)
    assert worst(measured(problem, problem.fused), truths[1]) > 1e-6


OUTPUTS = {
    Pass.FORWARD: ("y", "running_mean", "running_var"),
    Pass.BACKWARD: ("g_coef", "g_x", "g_kernel", "g_matrix", "g_gamma", "g_beta"),
    Pass.TANGENT: ("t_y",),
    Pass.TANGENT_BACKWARD: ("g_coef", "g_x", "g_kernel", "g_matrix", "g_gamma", "g_beta"),
}


@pytest.mark.parametrize(("what", "name"), [(w, n) for w, names in OUTPUTS.items() for n in names], ids=str)
def test_one_wrong_number_is_caught(
    what: Pass, name: str, truths: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last result of that kind gets one entry that is wrong in the seventh digit."""

    def touch(words: array[int]) -> None:
        at = [words[i] for i in addresses(words)[name] if words[i]]
        ctypes.c_double.from_address(at[-1]).value += 1e-7

    problem = planted_problem()
    runs = spoiled(monkeypatch, what, after=touch)
    assert worst(measured(problem, problem.fused), truths[0]) > 10 * TOLERANCE[torch.float64] and runs
