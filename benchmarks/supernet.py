"""The time of a search step of a supernet, against plain execution, and of a step on a GPU where there is one.

    python benchmarks/supernet.py [--quick] [--device cpu|cuda]

Every ratio is of two forms that take turns in one process, after their losses and gradients were found equal. --quick
takes small networks and few rounds, to show that everything runs; its figures mean nothing and are not written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import torch
from conditions import show, write
from steps import CLASSES, KINDS, Bound, Forms, Size, Step, checked, in_turns, row
from torch import Tensor, nn

from mimar.core.derivatives import gradient
from mimar.core.streams import isolated, stream
from mimar.supernet import Supernet

TINY = Size("darts", 2, 4, 8, 8)
FULL = {
    "steps": [Size("darts", 8, 16, 32, 16), Size("darts", 8, 16, 32, 64), Size("nasbench201", 5, 16, 32, 64)],
    "single": Size("darts", 8, 16, 32, 16),
    "gpu": Size("darts", 8, 16, 32, 64),
}
QUICK = {
    "steps": [Size("darts", 3, 4, 8, 4), Size("nasbench201", 1, 4, 8, 4)],
    "single": Size("darts", 3, 4, 8, 4),
    "gpu": Size("darts", 3, 4, 8, 4),
}
BOUNDS = {  # by network: against plain execution, and against it channels last
    "darts": (Bound(">=", 4, 10), Bound(">=", 2.5, 6)),
    "nasbench201": (Bound(">=", 3, 6), None),
}
SPEND = 40.0  # seconds for each comparison, if that gives five rounds at least
SEEDS, CURVE, WINDOW = 4, 200, 10  # loss curves: how many, their steps, steps averaged before they are compared


def forms(size: Size, *, last: bool = True) -> dict[str, Step]:
    """Return the forms of a step, found equal and warm."""
    made = Forms(size)
    steps = {"plain": made.plain(), "ours": made.ours()}
    if last:
        steps["last"] = made.plain(channels_last=True)
    checked(steps, made.weights)
    return steps


def on_cpu(sizes: dict[str, Any], spend: float, rounds: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """Yield the rows that need no GPU."""
    for size in sizes["steps"]:
        times = in_turns(forms(size), spend, rounds=rounds)
        nchw, last = BOUNDS[size.net]
        yield row("step, plain / ours", size, times["plain"], times["ours"], nchw)
        yield row("step, plain channels-last / ours", size, times["last"], times["ours"], last)
    size = sizes["single"]
    made = Forms(size)
    times = in_turns({"single": made.single(), "softmax": made.ours()}, spend, rounds=rounds)
    yield row("single path / softmax", size, times["single"], times["softmax"], Bound("<=", 0.25, 0.16))
    times = in_turns(forms(TINY, last=False), spend / 3, rounds=rounds)
    yield row("overhead on a tiny net, ours / plain", TINY, times["ours"], times["plain"], Bound("<=", 0.8, 0.4))


def on_gpu(size: Size, spend: float, rounds: tuple[int, int], device: str = "cuda") -> Iterator[dict[str, Any]]:
    """Yield the rows of a GPU: time and peak memory of a step, and the loss curve of bfloat16; TF32 is off throughout."""
    torch.set_float32_matmul_precision("highest")
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        made = Forms(size, device)
        for amp, bound in ((False, Bound(">=", 4)), (True, Bound(">=", 6))):
            kind = "bfloat16 autocast" if amp else "float32"
            plain, last = made.plain(amp=amp), made.plain(channels_last=True, amp=amp)
            steps = {"plain": plain, "ours": made.ours(amp=amp), "last": last}
            if amp:
                in_turns(steps, 0.0, device, (1, 1))
            else:
                checked(steps, made.weights)
            times = in_turns(steps, spend, device, rounds)
            yield row(f"GPU {kind}, plain / ours", size, times["plain"], times["ours"], bound)
            yield row(f"GPU {kind}, plain channels-last / ours", size, times["last"], times["ours"], None)
            peaks = {name: [peak_mib(step, device)] for name, step in steps.items()}
            yield row(f"GPU {kind}, peak MiB, ours / plain", size, peaks["ours"], peaks["plain"], Bound("<=", 0.5))
        inside = curve_inside(size, device)
        bound = Bound(">=", 1)
        yield row("GPU loss curve of bfloat16 inside float32's seeds, share of steps", size, [inside], [1.0], bound)


def peak_mib(step: Step, device: str) -> float:
    """Return the peak of the allocated memory during a step, what stood there before it included."""
    if device == "cpu":
        return 1.0
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return torch.cuda.max_memory_allocated(device) / 2**20


def curve_inside(size: Size, device: str) -> float:
    """Return the share of the time in which the mean loss under bfloat16 lies between the extremes of float32."""
    single = torch.stack([curve(size, device, seed, amp=False) for seed in range(SEEDS)])
    half = torch.stack([curve(size, device, seed, amp=True) for seed in range(SEEDS)]).mean(0)
    return float(((half >= single.amin(0)) & (half <= single.amax(0))).double().mean())


def curve(size: Size, device: str, seed: int, *, amp: bool) -> Tensor:
    """Return the losses (windows,) of SGD on the weights, under equal gates, on noisy pictures of ten patterns."""
    with isolated(seed):
        supernet = Supernet(KINDS[size.net][0](size.cells, size.channels, CLASSES).to(device))
    gates = {c.name: torch.full((len(c.options),), 1.0, device=device) for c in supernet.space.choices}
    gates = {c.name: gates[c.name] / (len(c.options) if c.kind == "one" else 1) for c in supernet.space.choices}
    patterns = torch.randn(CLASSES, 3, size.side, size.side, generator=stream(0, "patterns"))
    sgd, rng, losses = torch.optim.SGD(supernet.weights, 0.025, 0.9), stream(seed, "curve"), []
    for _ in range(CURVE):
        y = torch.randint(CLASSES, (size.batch,), generator=rng)
        x = (patterns[y] + 2 * torch.randn(size.batch, *patterns.shape[1:], generator=rng)).to(device)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=amp):
            loss = nn.functional.cross_entropy(supernet.call(supernet.weights, gates, x), y.to(device))
        for weight, slope in zip(supernet.weights, gradient(loss, supernet.weights), strict=True):
            weight.grad = slope
        sgd.step()
        losses.append(loss.detach())
    return torch.stack(losses).float().cpu().view(-1, WINDOW).mean(1)


def main() -> None:
    """Measure, print, write the CSVs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and few; nothing is written")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="only this device (default: both)")
    given = parser.parse_args()
    sizes, spend, rounds = (QUICK, 0.0, (3, 3)) if given.quick else (FULL, SPEND, (5, 200))
    if given.device != "cuda":
        rows = list(on_cpu(sizes, spend, rounds))
        show(rows) if given.quick else write("supernet", rows)
    if given.device != "cpu" and torch.cuda.is_available():
        rows = list(on_gpu(sizes["gpu"], spend, rounds))
        show(rows) if given.quick else write("supernet-cuda", rows, device="cuda")
    elif given.device != "cpu":
        print("no GPU here: nothing was measured on one")


if __name__ == "__main__":
    main()
