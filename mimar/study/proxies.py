"""Scores of untrained networks of a whole space as a table, computed once: python -m mimar.study.proxies FILE."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mimar import nets
from mimar.core.streams import isolated
from mimar.evaluators import proxies
from mimar.evaluators.proxy import Proxies
from mimar.evaluators.table import Table
from mimar.search.untrained import NETS
from mimar.space import Architecture, Proposal, of

NET, SHAPE, CLASSES = NETS["nasbench201"]
NAMES = ("grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov")  # of He, Shu and Low, 2024
CHUNK = 64  # architectures that a process scores before it is given more


def scores(
    names: Sequence[str] = NAMES,
    *,
    architectures: Iterable[Mapping[str, Any]] | None = None,
    net: str = NET,
    shape: tuple[int, ...] = SHAPE,
    classes: int = CLASSES,
    batch: int = 16,
    seed: int = 0,
    workers: int = 1,
) -> Table:
    """Return a table of scores of a net's architectures on `batch` noise images: a measured column a score.

    `architectures`: by default one of every canonical class, so that all of the space find their row. A score that is not
    finite becomes the worst finite one of its column. The cost of a row is the seconds that it took here. `workers`
    processes share the work; the scores are the same for any number of them.
    """
    space = of(_model(net, shape, classes, seed))
    listed = [Architecture(a) for a in architectures or dict.fromkeys(map(space.canonical, space.enumerate()))]
    score = partial(_scored, names=tuple(names), net=net, shape=shape, classes=classes, batch=batch, seed=seed)
    chunks = [listed[first : first + CHUNK] for first in range(0, len(listed), CHUNK)]
    if workers == 1:
        found = [row for chunk in chunks for row in score(chunk)]
    else:
        spawn = get_context("spawn")
        with ProcessPoolExecutor(workers, spawn, torch.set_num_threads, (1,)) as pool:
            found = [row for rows in pool.map(score, chunks) for row in rows]
    parts = _parts(names)
    columns = {n: _filled([row.get(n, np.nan) for row, _ in found], p.direction == "max") for n, p in parts.items()}
    return Table.from_arrays(
        space,
        columns,
        architectures=listed,
        seconds=[seconds for _, seconds in found],
        minimise=[name for name, part in parts.items() if part.direction == "min"],
        name=f"scores of {net} on {batch} noise images {shape}, seed {seed}",
        partial=architectures is not None,
    )


def _parts(names: Sequence[str]) -> dict[str, proxies.Proxy]:
    return dict(zip(proxies.labels(names), map(proxies.named, names), strict=True))


def _model(net: str, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    with isolated(seed):
        return nets.named(net, in_channels=shape[0], classes=classes, affine=True)


def _scored(
    chunk: Sequence[Architecture],
    names: Sequence[str],
    net: str,
    shape: tuple[int, ...],
    classes: int,
    batch: int,
    seed: int,
) -> list[tuple[dict[str, float], float]]:
    """Return the scores of each architecture and the seconds that they took; what one gets depends on no other."""
    noise = proxies.noise(shape, classes, batch, seed)
    evaluator = Proxies(_model(net, shape, classes, seed), noise, _parts(names), seed)
    rows = []
    for architecture in chunk:
        begun = time.perf_counter()
        metrics = dict(evaluator.evaluate(Proposal(architecture)).metrics)
        rows.append((metrics, time.perf_counter() - begun))
    return rows


def _filled(values: list[float], large: bool) -> np.ndarray[Any, Any]:
    found = np.asarray(values, dtype=np.float64)
    there = np.isfinite(found)
    worst = (found[there].min() if large else found[there].max()) if there.any() else 0.0
    filled: np.ndarray[Any, Any] = np.where(there, found, worst)
    return filled


def main() -> None:
    """Write the table of a net's space."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--net", default=NET)
    parser.add_argument("--proxies", default="+".join(NAMES))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=SHAPE[-1])
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    shape, names = (SHAPE[0], given.side, given.side), tuple(given.proxies.split("+"))
    scores(names, net=given.net, shape=shape, batch=given.batch, workers=given.workers).save(given.file)


if __name__ == "__main__":
    main()
