"""The cost of one outer step of iDARTS (two terms), in forward-and-backward passes on the same engine and batch size.

    python benchmarks/hypergradient.py [--quick]

The step is that of the recipe: its losses with their decays, its relaxation, two batches, `explain`. The unit is one
gradient of the inner loss in weights and alphas. On the reference engine it is plain double backward.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from conditions import show, write
from steps import CLASSES, KINDS, Bound, Size, in_turns, row

from mimar import tasks
from mimar.core.streams import isolated, stream
from mimar.gradient.hypergradient.parts import outer_slopes
from mimar.recipes import idarts
from mimar.search.losses import BatchLoss
from mimar.supernet import Fused, Reference, Supernet

ENGINES = {"ours": (Fused(), Bound("<=", 8, 6)), "plain double backward": (Reference(), None)}
SPEND = 30.0  # seconds for each engine, if that gives two rounds at least


def outer_step(size: Size, engine: Any) -> dict[str, Callable[[], Any]]:
    """Return the unit and the outer step of the search of a network under an engine."""
    rng = stream(0, "benchmark")
    x = torch.randn(4 * max(size.batch, CLASSES), 3, size.side, size.side, generator=rng)
    with isolated(0):
        net = KINDS[size.net][0](size.cells, size.channels, CLASSES)
    search = idarts.recipe(net=net, task=tasks.arrays(x, torch.arange(len(x)) % CLASSES), batch=size.batch)
    lab = search.lab()
    supernet = Supernet(lab.supernet.model, engine=engine)
    alphas = search.relaxation.init(supernet.space, rng)

    def loss(scope: str, split: str) -> BatchLoss:
        return BatchLoss(
            supernet=supernet,
            relaxation=search.relaxation,
            names=list(alphas),
            data=lab.data,
            batch=lab.data.sample(split, rng, size=size.batch),
            buffers=supernet.buffers,
            noise=(0, scope, 0),
            terms=tuple(t for t in search.terms if t.scope == scope),
        )

    inner, outer = loss("inner", "train"), loss("outer", "valid")
    weights, held, lr = supernet.weights, tuple(alphas.values()), search.inner.lr
    return {
        "unit": lambda: outer_slopes(inner, weights, held),
        "outer": lambda: search.hypergradient.explain(outer, inner, weights, held, lr=lr),
    }


def main() -> None:
    """Measure, print, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and few; nothing is written")
    quick = parser.parse_args().quick
    size = Size("darts", 3, 4, 8, 4) if quick else Size("darts", 8, 16, 32, 16)
    rows, found = [], {}
    for name, (engine, bound) in ENGINES.items():
        steps = outer_step(size, engine)
        found[name] = steps["outer"]().gradients  # warms up as well
        times = in_turns(steps, 0.0 if quick else SPEND, rounds=(2, 50))
        rows.append(row(f"iDARTS outer step in units, {name}", size, times["outer"], times["unit"], bound))
    ours, theirs = (torch.cat(tensors) for tensors in found.values())
    apart = float((ours - theirs).norm() / theirs.norm())
    assert apart <= 0.05, f"the engines give other hypergradients: relative distance {apart:.1e}"
    show(rows) if quick else write("hypergradient", rows)


if __name__ == "__main__":
    main()
