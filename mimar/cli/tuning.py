"""Measurements of the depthwise kernels on this machine, as a table that decides between torch's and ours."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import typer

from mimar import runs
from mimar.core.errors import UsageError
from mimar.kernels import depthwise, native, table
from mimar.runs.files import write_atomic
from mimar.search.lab import checked_device

BATCH = 16
SHAPES = list(itertools.product((3, 5, 7), (1, 2), (1, 2)))  # kernel, stride, dilation
PLACES = ((8, 8), (16, 32), (32, 16), (64, 8), (64, 32), (256, 8))  # channels, side
SAMPLES, ENOUGH = 9, 0.05  # samples of both kernels, fewer when these seconds are used up, but at least three


def tune(out: Path, *, device: str, quick: bool) -> str:
    """Measure both kernels in turn, write the table to `out` and say so; rows of other processors in it are kept."""
    checked_device(device)
    instructions = "triton" if device == "cuda" else native.described()
    ours = depthwise.compiled if device == "cpu" else depthwise.by_triton
    if instructions == "torch" or (device == "cuda" and depthwise.triton() is None):
        raise UsageError("there is nothing to choose: our kernels are not here (see `mimar doctor`), torch's serve")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    old = table.read(out) if out.exists() else table.Table({}, {}, out)
    shapes, places = (SHAPES[:1], PLACES[:1]) if quick else (SHAPES, PLACES)
    wanted = list(itertools.product((torch.float32, torch.float64), table.DIRECTIONS, shapes, places))
    rows: dict[str, list[list[float]]] = {}
    with typer.progressbar(wanted, label="measuring", file=sys.stderr) as bar:
        for dtype, direction, (k, s, d), (channels, side) in bar:
            size = depthwise.Size(BATCH, channels, side, side, k, s, d)
            times = _times(direction, size, dtype, device, (depthwise.by_torch, ours))
            rows.setdefault(table.key(instructions, dtype, direction), []).append([k, s, d, channels, side, *times])
    versions = runs.versions(device)
    measured = {n: versions[n] for n in ("torch", "threads", "device")} | {"batch": BATCH}
    write_atomic(out, table.text({**old.rows, **rows}, {**old.measured, instructions: measured}))
    won = sum(row[6] < row[5] for held in rows.values() for row in held)
    return (
        f"wrote {out}: for {instructions} our kernels are the faster ones in {won} of {len(wanted)} measurements\n"
        f"to use it: export {table.VARIABLE}={out.resolve()}"
    )


def _times(
    direction: table.Direction, size: depthwise.Size, dtype: torch.dtype, device: str, kernels: tuple[Callable, ...]
) -> list[float]:
    """Return the median microseconds of each kernel, the kernels taking turns."""
    rng = torch.Generator().manual_seed(0)
    x, g, w = (torch.randn(size.of(n), generator=rng, dtype=dtype).to(device) for n in ("input", "forward", "weight"))
    x, g = (t.contiguous(memory_format=torch.channels_last) for t in (x, g))
    a, b = {"forward": (x, w), "input": (g, w), "weight": (x, g)}[direction]

    def seconds(kernel: Callable) -> float:
        begun = time.perf_counter()
        kernel(direction, size, a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    once = [seconds(kernel) + seconds(kernel) for kernel in kernels]  # the first call also warms up
    samples = [
        [seconds(kernel) for kernel in kernels] for _ in range(max(3, min(SAMPLES, int(2 * ENOUGH / sum(once)))))
    ]
    return [float(f"{1e6 * statistics.median(found):.3g}") for found in zip(*samples, strict=True)]
