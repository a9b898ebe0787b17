"""The committed comparison of the differentiable family: `python -m mimar.study.family` (`make study`).

Three studies at one scale, a search of at most a minute on one core: the NAS-Bench-201 space on packed CIFAR, its cells
looked up in the real table, and the spaces S2 and S4 on Fashion-MNIST. Killed at any moment it goes on; the figures of
what is there are written to evidence/compare-NAME.json, the runs stay under runs/.
"""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from mimar import recipes
from mimar.study import compare
from mimar.study.claims import CELLS, CIFAR, FASHION, FINAL, OWN, S2, S4, SHORT
from mimar.study.compare import Study

RECIPES = (
    "darts-1st",
    "darts-2nd",
    "idarts",
    "rarts",
    "sd-darts",
    "small-temperature",
    "sharpdarts",
    "pc-darts",
    "darts-pt",
    "sdarts-rs",
    "sdarts-adv",
    "robust-darts",
    "darts-es",
    "darts-ada",
    "r-darts-l2",
    "r-darts-dp",
    "darts-plus",
    "dropnas",
    "darts-prime",
    "d-darts",
    "dartopti",
    "fair-darts",
    "snas",
    "gdas",
    "drnas",
    "unas",
    "manas",
    "manas-ls",
    "dass",
    "bnas",
    "gtn",
)
PLACES = {"nasbench201": (CIFAR, CELLS), "s2": (FASHION, S2), "s4": (FASHION, S4)}
WORK, FOLDER = Path("runs") / "family", Path("evidence")


def study(place: str) -> Study:
    """Return the study of one place; its cells are those of the claims at this scale."""
    task, options = PLACES[place]
    own = {name: _options(name) for name in (*RECIPES, "random-ws")}
    return Study(RECIPES, task=task, net=str(options["net"]), retrain=FINAL, options=own)


def _options(name: str) -> dict[str, Any]:
    known = inspect.signature(recipes.load(name)[1]).parameters
    common = {key: value for key, value in SHORT.items() if key in ("epochs", "batch")}
    return {key: value for key, value in {**common, **OWN.get(name, {})}.items() if key in known}


def main() -> None:
    """Run or continue the studies asked for, one cell at a time in each worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="*", default=list(PLACES), choices=[*PLACES, []], metavar="|".join(PLACES))
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for place in given.places:
        out = WORK / place
        compare.run(study(place), out, workers=given.workers)
        (FOLDER / f"compare-{place}.json").write_text((out / compare.FIGURES).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
