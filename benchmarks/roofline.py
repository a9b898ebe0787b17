"""How near a step comes to what this machine can do: arithmetic and bytes counted, peaks measured, times taken apart.

    python benchmarks/roofline.py [--quick]

`docs/roofline.md` shows the CSV and says what the figures mean.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from conditions import show, write
from steps import Forms, Size, Step, checked, in_turns, seconds
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mimar.core import count
from mimar.kernels import native
from mimar.supernet import Reference, Supernet, saved_bytes

GIGA = 1e9
SPEND = 10.0  # seconds for each setting, if that gives two rounds at least
PASSES = {"forward": ("FORWARD", "TANGENT"), "backward": ("BACKWARD", "TANGENT_BACKWARD"), "shared pools": ("POOL",)}
KINDS = {  # of torch's operators on the processor: parts of their names, the first that fit
    "convolutions, backward": ("conv", "backward"),
    "convolutions, forward": ("conv",),
    "batch norms": ("batch_norm",),
    "pools": ("pool",),
}
REST = "everything else"


class Traffic(TorchDispatchMode):
    """Adds up the bytes that operations read and write, each of them from and to memory; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            held = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
            self.bytes += sum(min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in held)
        return out


def counted(made: Forms) -> dict[str, float]:
    """Return the figures of a step that need no clock."""
    with Traffic() as traffic:
        made.ours(engine=Reference())()
    reference = Supernet(made.model, engine=Reference())
    gates = {n: g for names, rows in zip(made.used, made.gates, strict=False) for n, g in zip(names, rows, strict=True)}
    gates |= made.opened()
    forward = count.macs(lambda x: reference.call(reference.weights, gates, x), made.x)
    kept = {"plain": saved_bytes(reference, gates, made.x), "ours": saved_bytes(Supernet(made.model), gates, made.x)}
    return {
        # two operations a MAC, and the way back has two products for each one of the way there; torch's own count of
        # that takes the gradient of a depthwise kernel for a dense one
        "arithmetic, GFLOP": 6 * forward / GIGA,
        "bytes moved, one operation after the other, GB": traffic.bytes / GIGA,
        "bytes kept for the way back, plain, GB": kept["plain"] / GIGA,
        "bytes kept for the way back, ours, GB": kept["ours"] / GIGA,
    }


def peaks(side: int, mib: int) -> tuple[float, float]:
    """Return the most that is reached here: GFLOP/s of a matrix product, GB/s read and written by a copy."""
    a, b, c = torch.randn(side, side), torch.randn(side, side), torch.empty(side, side)
    source, target = torch.ones(mib << 18), torch.ones(mib << 18)
    product = min(seconds(lambda: torch.mm(a, b, out=c)) for _ in range(10))
    copy = min(seconds(lambda: target.copy_(source)) for _ in range(10))
    return 2 * side**3 / product / GIGA, 2 * (mib << 20) / copy / GIGA


@contextmanager
def watched(spent: dict[str, float]) -> Iterator[None]:
    """Add the seconds inside the compiled kernels to `spent`, by the pass that they are called for."""
    execute = native.execute

    def timed(words: Any, what: native.Pass) -> None:
        start = time.perf_counter()
        execute(words, what)
        spent[what.name] += time.perf_counter() - start

    native.execute = timed
    try:
        yield
    finally:
        native.execute = execute


def profiled(step: Step) -> Iterator[tuple[str, list[Any], float]]:
    """Yield name, shapes of the inputs and own seconds of every operator of a step."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        step()
    for event in profile.key_averages(group_by_input_shape=True):
        yield event.key, event.input_shapes, event.self_cpu_time_total / 1e6


def inside(step: Step, rounds: int) -> dict[str, float]:
    """Return the seconds of a step of ours by where they go: passes of the kernels, torch's operators, the rest."""
    spent: dict[str, float] = defaultdict(float)
    with watched(spent):
        whole = sum(seconds(step) for _ in range(rounds)) / rounds
    found = {f"kernels, {name}": sum(spent[one] for one in ones) / rounds for name, ones in PASSES.items()}
    found["torch's operators"] = sum(time_ for name, _, time_ in profiled(step) if name.startswith("aten::"))
    return found | {"Python and autograd": max(whole - sum(found.values()), 0.0)}


def by_kind(step: Step) -> dict[str, float]:
    """Return the shares of a plain step's operators in their time, by kind."""
    convolutions, others = list(KINDS)[:2], list(KINDS)[2:]
    kinds = [f"{sort} {kind}" for sort in ("depthwise", "dense") for kind in convolutions] + others + [REST]
    found = dict.fromkeys(kinds, 0.0)
    for name, shapes, time_ in profiled(step):
        kind = next((k for k, parts in KINDS.items() if all(part in name.lower() for part in parts)), REST)
        if kind in convolutions:
            deep = any(len(s) == 4 and s[1] == 1 and s[2] > 1 for s in shapes)  # the shape of a depthwise kernel
            kind = f"{'depthwise' if deep else 'dense'} {kind}"
        found[kind] += time_
    return {kind: time_ / sum(found.values()) for kind, time_ in found.items()}


def setting(size: Size, spend: float, peak: tuple[float, float], figures: dict[str, float]) -> dict[str, float]:
    """Return all figures of a network at the present number of threads."""
    made = Forms(size)
    steps = {"plain": made.plain(), "plain, channels last": made.plain(channels_last=True), "ours": made.ours()}
    checked(steps, made.weights)
    taken = {name: statistics.median(t) for name, t in in_turns(steps, spend, rounds=(2, 20)).items()}
    arithmetic = figures["arithmetic, GFLOP"]
    found = figures | {"peak of a matrix product, GFLOP/s": peak[0], "peak of a copy, GB/s": peak[1]}
    found["least time for the arithmetic, s"] = arithmetic / peak[0]
    found["least time for these bytes, s"] = figures["bytes moved, one operation after the other, GB"] / peak[1]
    for name, time_ in taken.items():
        found |= {f"step, {name}, s": time_, f"share of the peak, {name}": arithmetic / peak[0] / time_}
    found |= {f"ours, {name}, s": value for name, value in inside(steps["ours"], 3).items()}
    return found | {f"plain, share of {name}": value for name, value in by_kind(steps["plain"]).items()}


def columns(sizes: list[Size], spend: float, mm: tuple[int, int]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the name and the figures of every network, on one thread and on as many as torch has."""
    most = torch.get_num_threads()
    figures = {size: counted(Forms(size)) for size in sizes}
    for threads in sorted({1, most}):
        torch.set_num_threads(threads)
        peak = peaks(*mm)
        for size in sizes:
            yield f"{size}, {threads} thread{'s' * (threads > 1)}", setting(size, spend, peak, figures[size])
    torch.set_num_threads(most)


def main() -> None:
    """Measure, print, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and few; nothing is written")
    quick = parser.parse_args().quick
    if quick:
        found = dict(columns([Size("darts", 3, 4, 8, 4)], 0.0, (256, 4)))
    else:
        sizes = [Size("darts", 8, 16, 32, 16), Size("nasbench201", 5, 16, 32, 64)]
        found = dict(columns(sizes, SPEND, (3072, 512)))
    figures = next(iter(found.values()))
    rows = [{"figure": name} | {at: f"{held[name]:.3g}" for at, held in found.items()} for name in figures]
    show(rows) if quick else write("roofline", rows)


if __name__ == "__main__":
    main()
