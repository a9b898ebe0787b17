"""Depthwise operators: every way to compute them against an unfolded product, all derivatives, and what is refused."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, library
from torch.nn import functional as F

from mimar.core.errors import DataError, UsageError
from mimar.kernels import depthwise as module
from mimar.kernels import native
from mimar.kernels.depthwise import depthwise, depthwise_input, depthwise_weight

WAYS = ("torch", *native.SETS)
SHAPES = ((2, 5, 7, 6), (1, 20, 1, 9), (3, 16, 5, 1), (1, 33, 1, 1), (2, 1, 8, 8), (2, 8, 4, 5), (1, 64, 3, 19))
CASES = [*itertools.product((3, 5, 7), (1, 2), (1, 2)), (1, 1, 1), (9, 3, 2), (5, 3, 1)]  # kernel, stride, dilation
needs_compiled = pytest.mark.skipif(native.compiled() is None, reason="the compiled kernels were not built")
Triple = tuple[Tensor, Tensor, Tensor]


def use(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Let one way serve, whatever the table says; skip where it is not here."""
    if way != "torch":
        number = native.SETS.index(way)
        if native.compiled() is None or native.compiled().mimar_best() < number:
            pytest.skip(f"no compiled kernels for {way} here")
        monkeypatch.setattr(native, "instruction_set", lambda: number)
    monkeypatch.setattr(module, "_ours", lambda *asked: way != "torch")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use(monkeypatch, request.param)
    return request.param


def unfolded(x: Tensor, w: Tensor, stride: int, dilation: int) -> Tensor:
    """Do the same as a product of patches and weights, without any convolution."""
    b, c, *sides = x.shape
    k = w.shape[-1]
    patches = F.unfold(x, k, dilation, dilation * (k // 2), stride).view(b, c, k * k, -1)
    return (patches * w.view(1, c, k * k, 1)).sum(2).view(b, c, *(-(-n // stride) for n in sides))


def triple(shape: tuple[int, ...], k: int, stride: int, dtype: torch.dtype = torch.float64) -> Triple:
    """Return random x, w and g that require gradients."""
    rng = torch.Generator().manual_seed(k + stride)
    b, c, *sides = shape
    shapes = (shape, (c, 1, k, k), (b, c, *(-(-n // stride) for n in sides)))
    x, w, g = (torch.randn(s, generator=rng, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes)
    return x, w, g


def everything(function: Callable[..., Tensor], parts: Triple, stride: int, dilation: int) -> list[Tensor]:
    """Return y, the gradients of ⟨g, y⟩, and those of a product with the gradients."""
    x, w, g = parts
    y = function(x, w, stride, dilation)
    first = torch.autograd.grad(y, (x, w), g, create_graph=True)
    directions = [torch.cos(torch.arange(t.numel(), dtype=t.dtype)).view_as(t) for t in first]
    second = torch.autograd.grad(first, (x, w, g), directions)
    return [y, *first, *second]


def worst(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest difference of two lists, each tensor relative to its largest value."""
    pairs = zip(found, expected, strict=True)
    return max(((a - b).abs().max() / b.abs().max().clamp_min(1e-3)).item() for a, b in pairs)


# --- values and derivatives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "stride", "dilation"), CASES)
def test_values_and_two_derivatives(way: str, k: int, stride: int, dilation: int) -> None:
    for shape in SHAPES:
        expected = everything(unfolded, triple(shape, k, stride), stride, dilation)
        for dtype, limit in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
            found = everything(depthwise, triple(shape, k, stride, dtype), stride, dilation)
            assert worst([t.double() for t in found], expected) < limit, (shape, dtype)


@pytest.mark.parametrize(("k", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (3, 1, 2), (5, 2, 2)])
def test_derivatives_of_all_three_by_differences(
    k: int, stride: int, dilation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.compiled() is not None:
        use(monkeypatch, native.described())
    x, w, g = triple((2, 2, 5, 3), k, stride)
    for function, inputs in (
        (lambda x, w: depthwise(x, w, stride, dilation), (x, w)),
        (lambda g, w: depthwise_input(g, w, 5, 3, stride, dilation), (g, w)),
        (lambda x, g: depthwise_weight(x, g, k, stride, dilation), (x, g)),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


def test_third_derivative(way: str) -> None:
    x, w, _ = triple((2, 3, 5, 4), 3, 2)
    third = []
    for function in (depthwise, unfolded):
        slope = torch.autograd.grad(function(x, w, 2, 1).pow(3).sum(), x, create_graph=True)[0]
        bend = torch.autograd.grad(slope.pow(2).sum(), w, create_graph=True)[0]
        third.append(torch.autograd.grad(bend.pow(2).sum(), x)[0])
    assert worst(third[:1], third[1:]) < 1e-12


def flipped(direction: str, right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return `right` with an error planted in one direction: its kernel is turned round."""

    def wrong(asked: str, size: module.Size, a: Tensor, b: Tensor) -> Tensor:
        if asked == direction == "weight":
            return right(asked, size, a, b).flip(2, 3)
        return right(asked, size, a, b.flip(2, 3) if asked == direction else b)

    return wrong


@pytest.mark.parametrize("direction", ["forward", "input", "weight"])
def test_a_planted_error_is_found(way: str, direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "by_torch" if way == "torch" else "compiled"
    parts = triple((2, 5, 7, 6), 3, 1)
    expected = everything(unfolded, parts, 1, 1)
    assert worst(everything(depthwise, parts, 1, 1), expected) < 1e-12
    monkeypatch.setattr(module, name, flipped(direction, getattr(module, name)))
    assert worst(everything(depthwise, parts, 1, 1), expected) > 0.1


def test_a_wrong_formula_is_found_by_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "torch")
    monkeypatch.setattr(module, "by_torch", flipped("input", module.by_torch))
    x, w, _ = triple((2, 3, 5, 4), 3, 1)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(depthwise, (x, w))


# --- layouts, repeatability, threads ------------------------------------------------------------------------------


def test_layout_of_the_inputs_changes_no_bit(way: str) -> None:
    x, w, g = (t.detach() for t in triple((2, 20, 6, 5), 3, 1))
    last = torch.channels_last
    y = depthwise(x, w)
    turned = x.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    wider = torch.stack([x, x + 1], -1)[..., 0]
    for other in (x.contiguous(memory_format=last), turned, wider, x.expand(2, 20, 6, 5)):
        assert torch.equal(depthwise(other, w), y)
        assert torch.equal(depthwise_weight(other, g, 3, 1, 1), depthwise_weight(x, g, 3, 1, 1))
    flat = torch.ones(1, 1, 1, 1, dtype=torch.float64).expand(2, 20, 6, 5)
    assert torch.equal(depthwise_input(flat, w, 6, 5, 1, 1), depthwise_input(flat.clone(), w, 6, 5, 1, 1))
    steps = torch.stack([w, w], 1)[:, 0]
    assert not steps.is_contiguous() and torch.equal(depthwise(x, steps), y)
    assert y.is_contiguous(memory_format=last)


@pytest.mark.parametrize("threads", [1, 2])
def test_equal_calls_give_equal_bits(way: str, threads: int, restored_threads: None) -> None:
    torch.set_num_threads(threads)
    for stride, dilation in ((1, 1), (2, 1), (1, 2), (2, 2)):
        parts = triple((5, 18, 11, 12), 5, stride, torch.float32)
        once, again = (everything(depthwise, parts, stride, dilation) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.fixture
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_share_the_work_evenly(way: str, restored_threads: None) -> None:
    parts = triple((5, 18, 11, 12), 5, 2)
    expected = everything(unfolded, parts, 2, 1)
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        assert worst(everything(depthwise, parts, 2, 1), expected) < 1e-12


@needs_compiled
def test_instruction_sets_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = triple((3, 37, 9, 8), 5, 2)
    found = []
    for way in native.SETS[: native.compiled().mimar_best() + 1]:
        with monkeypatch.context() as patch:
            use(patch, way)
            found.append(everything(depthwise, parts, 2, 2))
    assert max(worst(one, found[0]) for one in found) < 1e-13


# --- what torch knows of the operators ----------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
def test_operators_are_registered_rightly(stride: int) -> None:
    x, w, g = triple((2, 5, 7, 1), 3, stride)
    known = torch.ops.mimar
    library.opcheck(known.depthwise.default, (x, w, stride, 2))
    library.opcheck(known.depthwise_input.default, (g, w, 7, 1, stride, 2))
    library.opcheck(known.depthwise_weight.default, (x, g, 3, stride, 2))


def test_meta_tensors_have_shape_and_strides() -> None:
    x, w = torch.empty(2, 6, 9, 7, device="meta"), torch.empty(6, 1, 5, 5, device="meta")
    y = depthwise(x, w, 2, 2)
    assert (y.shape, y.stride()) == ((2, 6, 5, 4), (120, 1, 24, 6))
    assert depthwise_input(y, w, 9, 7, 2, 2).shape == x.shape
    assert depthwise_weight(x, y, 5, 2, 2).shape == w.shape


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_compiled_function_gives_the_same(dynamic: bool) -> None:
    x, w, _ = triple((2, 5, 7, 6), 3, 2)

    def function(x: Tensor, w: Tensor) -> Tensor:
        return depthwise(torch.relu(x), w, 2, 1).pow(2).sum()

    compiled = torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    expected, found = (torch.autograd.grad(one(x, w), (x, w)) for one in (function, compiled))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, in torch.func
def test_forward_mode_and_functional_transforms() -> None:
    x, w, u = (t.detach() for t in triple((2, 3, 5, 4), 3, 1))
    _, found = torch.func.jvp(lambda x: depthwise(x, w), (x,), (u,))
    torch.testing.assert_close(found, depthwise(u, w))
    slope = torch.func.grad(lambda w: depthwise(x, w).pow(2).sum())(w)
    torch.testing.assert_close(slope, depthwise_weight(x, 2 * depthwise(x, w), 3, 1, 1))
    with pytest.raises(UsageError, match="no forward-mode derivative"):
        torch.func.jvp(lambda x: torch.ops.mimar.depthwise(x, w, 1, 1), (x,), (u,))


def test_autocast_and_other_types_are_torchs() -> None:
    x, w, _ = triple((2, 3, 5, 4), 3, 1, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = depthwise(x, w)
        assert torch.ops.mimar.depthwise(x, w, 1, 1).dtype == torch.float32
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), depthwise(x, w), rtol=0.05, atol=0.1)
    y.sum().backward()
    assert x.grad.dtype == w.grad.dtype == torch.float32


# --- who serves ---------------------------------------------------------------------------------------------------


@needs_compiled
@pytest.mark.parametrize("ours", [True, False])
def test_the_table_decides_each_direction(ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, served = [], []

    def decide(instructions: str, direction: str, size: module.Size, dtype: torch.dtype) -> bool:
        asked.append((instructions, direction, dtype))
        return ours

    for name in ("compiled", "by_torch"):
        right = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, n=name, r=right: (served.append((n, a[0])), r(*a))[1])
    monkeypatch.setattr(module, "_ours", decide)
    x, w, g = triple((2, 3, 5, 4), 3, 1)
    torch.autograd.grad(depthwise(x, w), (x, w), g)
    directions = ("forward", "input", "weight")
    assert served == [("compiled" if ours else "by_torch", d) for d in directions]
    assert asked == [(native.described(), d, torch.float64) for d in directions]


def test_the_twin_serves_where_nothing_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "compiled", lambda: None)
    monkeypatch.setattr(module, "compiled", None)
    parts = triple((2, 5, 7, 6), 3, 2)
    assert worst(everything(depthwise, parts, 2, 1), everything(unfolded, parts, 2, 1)) < 1e-12


def test_an_empty_batch_has_zero_gradients(way: str) -> None:
    x, w, g = triple((0, 5, 7, 6), 3, 2)
    y, g_x, g_w, *_ = everything(depthwise, (x, w, g), 2, 1)
    assert (y.shape, g_x.shape) == ((0, 5, 4, 3), (0, 5, 7, 6))
    assert torch.equal(g_w, torch.zeros_like(w))


ONE = torch.ones(2, 3, 5, 4)
KERNEL = torch.ones(3, 1, 3, 3)
WRONG = [
    (lambda: depthwise(ONE[0], KERNEL), r"the input is \(3, 5, 4\); it must be \(B, C, H, W\)"),
    (lambda: depthwise(ONE[:, :, :0], KERNEL), r"no empty picture"),
    (lambda: depthwise(ONE, KERNEL[:2]), r"the weights are \(2, 1, 3, 3\); they must be \(3, 1, k, k\) with k odd"),
    (lambda: depthwise(ONE, KERNEL[:, :, :2, :2]), "k odd"),
    (lambda: depthwise(ONE, KERNEL[:, :, :1]), "k odd"),
    (lambda: depthwise(ONE, KERNEL[0]), "k odd"),
    (lambda: depthwise(ONE, KERNEL, 0), "stride 0 and dilation 1 must both be at least 1"),
    (lambda: depthwise(ONE, KERNEL, 1, -1), "stride 1 and dilation -1"),
    (lambda: depthwise(ONE, KERNEL.double()), "torch.float32 on cpu and torch.float64 on cpu; both must be of one"),
    (lambda: depthwise(ONE.long(), KERNEL.long()), "one floating type"),
    (lambda: depthwise(ONE, KERNEL.to("meta")), "torch.float32 on meta"),
    (lambda: depthwise_input(ONE, KERNEL, 9, 4, 1, 1), r"the gradient is \(2, 3, 5, 4\); it must be \(2, 3, 9, 4\)"),
    (lambda: depthwise_weight(ONE, ONE, 3, 2, 1), r"the gradient is \(2, 3, 5, 4\); it must be \(2, 3, 3, 2\)"),
    (lambda: depthwise_weight(ONE, ONE, 4, 1, 1), "k odd"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_does_not_fit_is_one_sentence(number: int) -> None:
    call, text = WRONG[number]
    with pytest.raises(DataError, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- Triton -------------------------------------------------------------------------------------------------------

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton is not installed: no CUDA kernels to test"
)
INTERPRETED = """
import itertools, sys
import torch
from mimar.kernels import depthwise, triton_depthwise
shapes = ((2, 3, 7, 6), (1, 70, 1, 5), (3, 4, 9, 1))
for shape, k, s, d, kind in itertools.product(shapes, (3, 5), (1, 2), (1, 2), (torch.float64, torch.float32)):
    size = depthwise.Size(*shape, k, s, d)
    x, w, g = (torch.randn(size.of(n), dtype=kind) for n in ("input", "weight", "forward"))
    for direction, a, b in (("forward", x, w), ("input", g, w), ("weight", x, g)):
        found = depthwise.by_triton(direction, size, a, b)
        expected = depthwise.by_torch(direction, size, a, b)
        assert found.stride() == expected.stride()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4 if kind == torch.float32 else 1e-12)
print("agreed")
"""
TRANSLATED = """
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mimar.kernels import triton_depthwise
for name in ("_forward", "_input", "_weight"):
    kernel = getattr(triton_depthwise, name)
    constants = dict(K=5, S=2, D=2, P=16, N=64, SUM=tl.float32)
    kinds = {n: "*fp32" if i < 3 else "constexpr" if n in constants else "i32" for i, n in enumerate(kernel.arg_names)}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=constants)
    assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
print("translated")
"""


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize(("code", "word", "interpret"), [(INTERPRETED, "agreed", "1"), (TRANSLATED, "translated", "0")])
def test_triton_kernels(code: str, word: str, interpret: str, tmp_path: os.PathLike) -> None:
    env = {**os.environ, "TRITON_INTERPRET": interpret, "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == [word], done.stderr
