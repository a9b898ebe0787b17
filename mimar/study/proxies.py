"""Scores of untrained networks of a whole space as a table, computed once: python -m mimar.study.proxies FILE."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mimar import nets
from mimar.core.streams import isolated
from mimar.evaluators import proxies
from mimar.evaluators.proxy import Proxies
from mimar.evaluators.table import Table
from mimar.search.untrained import NETS
from mimar.space import Architecture, Proposal, of

NET, SHAPE, CLASSES = NETS["nasbench201"]
NAMES = ("grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov")  # of He, Shu and Low, 2024


def scores(
    names: Sequence[str] = NAMES,
    *,
    architectures: Iterable[Mapping[str, Any]] | None = None,
    net: str = NET,
    shape: tuple[int, ...] = SHAPE,
    classes: int = CLASSES,
    batch: int = 16,
    seed: int = 0,
) -> Table:
    """Return a table of scores of a net's architectures on `batch` noise images: a measured column a score.

    `architectures`: by default one of every canonical class, so that all of the space find their row. A score that is not
    finite becomes the worst finite one of its column. The cost of a row is the seconds that it took here.
    """
    with isolated(seed):
        model = nets.named(net, in_channels=shape[0], classes=classes, affine=True)
    space = of(model)
    listed = [Architecture(a) for a in architectures or dict.fromkeys(map(space.canonical, space.enumerate()))]
    parts = dict(zip(proxies.labels(names), map(proxies.named, names), strict=True))
    evaluator = Proxies(model, proxies.noise(shape, classes, batch, seed), parts, seed)
    seconds, rows = [], []
    for architecture in listed:
        begun = time.perf_counter()
        rows.append(evaluator.evaluate(Proposal(architecture)).metrics)
        seconds.append(time.perf_counter() - begun)
    columns = {n: _filled([row.get(n, np.nan) for row in rows], part.direction == "max") for n, part in parts.items()}
    small = [name for name, part in parts.items() if part.direction == "min"]
    described = f"scores of {net} on {batch} noise images {shape}, seed {seed}"
    return Table.from_arrays(
        space,
        columns,
        architectures=listed,
        seconds=seconds,
        minimise=small,
        name=described,
        partial=architectures is not None,
    )


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
    given = parser.parse_args()
    shape = (SHAPE[0], given.side, given.side)
    scores(tuple(given.proxies.split("+")), net=given.net, shape=shape, batch=given.batch).save(given.file)


if __name__ == "__main__":
    main()
