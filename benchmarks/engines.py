"""Whether both engines find equally good networks: test accuracies on digits, seed by seed, and the seconds they took.

    python benchmarks/engines.py [--quick]

Iterative DARTS with implicit hypergradients, half its usual epochs, without random networks beside it. A step differs by
rounding only, yet a search multiplies every difference: what has to agree is the distribution over seeds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

from conditions import show, write
from steps import Bound, row

from mimar.evaluators import Retrain
from mimar.recipes import idarts
from mimar.study.statistics import FEWEST, compare
from mimar.supernet import Fused, Reference

TASK = "digits"


def found(engine: Any, seed: int, *, quick: bool) -> tuple[float, float]:
    """Return the test accuracy of one search with retraining, and its seconds."""
    epochs = 1 if quick else 10
    task = f"{TASK}:limit=200" if quick else TASK
    search = idarts.recipe(task=task, seed=seed, epochs=epochs, retrain=Retrain(epochs=epochs), baseline=0)
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = replace(search, engine=engine).run(f"{folder}/run")
        return result.metrics["test_accuracy"], time.perf_counter() - start


def main() -> None:
    """Measure, print, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and few; nothing is written")
    quick = parser.parse_args().quick
    pairs = [[found(e, s, quick=quick) for e in (Fused(), Reference())] for s in range(FEWEST)]
    (ours, fast), (theirs, slow) = (zip(*side, strict=True) for side in zip(*pairs, strict=True))
    said = compare(ours, theirs)
    rows = [
        row("seconds of a search, reference / fused", f"{TASK}, idarts", slow, fast, Bound(">=", 1)),
        row("test accuracy, fused / reference", f"{TASK}, idarts", ours, theirs, None),
        {
            **row("p of equal accuracies (Mann-Whitney)", f"{TASK}, idarts", [said.p], [1.0], Bound(">=", 0.05)),
            "rounds": FEWEST,
        },
    ]
    show(rows) if quick else write("engines", rows)


if __name__ == "__main__":
    main()
