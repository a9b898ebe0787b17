"""The compiled node beside its pure-torch twin: values, statistics, derivatives of both orders, and checks that can fail."""

from __future__ import annotations

import ctypes
import gc
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from node_problems import HALVING, KEEPING, Found, Problem, dense, gap, measured, pool, separable, worst
from torch import Tensor

from mimar.core.derivatives import Curvature
from mimar.core.streams import stream
from mimar.core.trees import dot
from mimar.kernels import memory, native
from mimar.kernels.native import Pass
from mimar.kernels.node import join, node, shared
from mimar.kernels.programs import AT, IN, SOURCE, Program, Term
from mimar.kernels.stages import run_plainly

pytestmark = pytest.mark.skipif(native.compiled() is None, reason="the compiled kernels were not built")
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-4}
PASSES = (Pass.FORWARD, Pass.BACKWARD, Pass.TANGENT, Pass.TANGENT_BACKWARD)

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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("sides", [(16, 16), (18, 14), (9, 16)], ids=str)
@pytest.mark.parametrize("channels", [8, 20])
def test_pictures_cut_into_strips_and_tiles_equal_their_twin(
    channels: int, sides: tuple[int, int], dtype: torch.dtype
) -> None:
    """Large enough that a 1×1 goes strip by strip, and a 3×3 of even sides tile by tile in more than one strip."""
    names = ("one by one", "three by three", "bottleneck", "one by one")
    assert gap(Problem(names, channels=channels, sides=sides, batch=2, dtype=dtype)) < TOLERANCE[dtype]


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


def test_what_comes_back_to_a_shared_source_is_its_sum() -> None:
    """Three nodes and something else read one tensor: first derivatives twice, and a product of the second ones."""
    problems = [Problem([name, "average"], sides=(8, 8)) for name in ("separable 3", "three by three", "identity")]
    found = []
    for sharing in (True, False):
        x = problems[0].leaves[1].detach().requires_grad_()
        leaves = [x, *(t for p in problems for t in (p.leaves[0], *p.leaves[2:]))]
        alias, share = shared(1.5 * x) if sharing else (1.5 * x, None)
        pools: dict[Any, Any] = {}
        ys = [
            node(p.program, p.leaves[0], [alias], p.leaves[2:], pools, update=False, shares=[share]) for p in problems
        ]
        loss = tanh_loss(join(ys)) + (x * ys[0]).sum()
        first = [torch.autograd.grad(loss, leaves, retain_graph=True) for _ in range(2)]
        some = torch.autograd.grad(tanh_loss(ys[1]), leaves, retain_graph=True, allow_unused=True)[0]
        slopes = torch.autograd.grad(loss, leaves, create_graph=True)
        second = [torch.autograd.grad(slopes, leaves, [t.detach() for t in slopes], retain_graph=True) for _ in (0, 1)]
        assert share is None or share.sum is None  # nothing is held between walks
        found.append({"first": [*first[0], *first[1], some], "second": [*second[0], *second[1]]})
    assert worst(*found) < 1e-11


def test_a_walk_that_failed_leaves_nothing_in_a_shared_source() -> None:
    problem, failing = Problem(["separable 3", "identity"]), [True]
    x = problem.leaves[1].detach().requires_grad_()
    alias, share = shared(x)
    ys = [
        node(problem.program, problem.leaves[0], [alias], problem.leaves[2:], {}, update=False, shares=[share])
        for _ in "ab"
    ]

    def hook(g: Tensor) -> None:
        if failing[0]:
            raise ArithmeticError("planted")

    ys[0].register_hook(hook)
    loss = tanh_loss(ys[0]) + 2 * tanh_loss(ys[1])
    with pytest.raises(ArithmeticError, match="planted"):
        torch.autograd.grad(loss, [x], retain_graph=True)
    failing[0] = False
    (one,) = torch.autograd.grad(tanh_loss(problem.plain([problem.leaves[0], x, *problem.leaves[2:]])), [x])
    torch.testing.assert_close(torch.autograd.grad(loss, [x])[0], 3 * one, rtol=1e-11, atol=1e-11)


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
