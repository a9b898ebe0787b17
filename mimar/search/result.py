"""What a finished search gives: architecture, plain trained module, figures, and random search beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mimar.space import Architecture


@dataclass
class Result:
    """The outcome of a search.

    `architecture`; `model`: a plain trained nn.Module in evaluation mode, None
    where the figures come from a table; `metrics`: {test_accuracy, valid_accuracy,
    params, macs, …}, accuracies as fractions; `baseline`: {"random": {n, best, mean, std}}, `best` being the test
    accuracy of the random network with the best holdout accuracy; `data`: all of it as the run's JSON; `seconds`: wall
    time over all sittings; `run`: the folder, or None; `warnings`: what went wrong on the way, as that the gates did not
    move. The model takes standardised inputs: `data["inputs"]` has the mean and std by channel of the raw values.
    """

    architecture: Architecture
    model: nn.Module | None
    metrics: dict[str, float]
    baseline: dict[str, Any]
    data: dict[str, Any] = field(repr=False)
    seconds: float = 0.0
    run: str | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the one line that `mimar search --json` prints last."""
        return json.dumps({**self.data, "seconds": round(self.seconds, 3), "run": self.run}, sort_keys=True)
