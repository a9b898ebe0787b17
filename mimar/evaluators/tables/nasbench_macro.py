"""NAS-Bench-Macro: all 6,561 chains of eight layers with three options on CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mimar.core.ranges import validate
from mimar.evaluators.columns import significant
from mimar.evaluators.table import Table
from mimar.evaluators.table_file import arrays
from mimar.space import Choice, Space
from mimar.tasks import locate

LAYERS = 8
OPTIONS = ("identity", "mbconv3_e3", "mbconv5_e6")  # inverted bottlenecks: kernel, expansion


@dataclass(frozen=True)
class NasBenchMacro:
    """The table of layer-wise networks: accuracy, parameters and FLOPs; three trainings each.

    A query is `accuracy`: the benchmark publishes test accuracies alone, so that every search on it looks at the test set,
    as those of its paper do. `seeds`: "mean" of three trainings or "one" of them drawn by query; the verdict is the mean.
    No costs are published: the budget of a search that names none is 100 queries. Su et al., "Prioritized Architecture
    Sampling with Monto-Carlo Tree Search", CVPR 2021.
    """

    seeds: Literal["mean", "one"] = "mean"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the table. Raises DataAbsentError, saying where to get it, when it is not on this machine."""
        held = arrays(locate.find("nasbench-macro"), "arch", "acc", "flops", "params")
        accuracy = np.round(significant(held["acc"].T) / 100, 8)  # (S, R)
        return Table.from_arrays(
            Space([Choice(f"layer{i}", OPTIONS) for i in range(LAYERS)]),
            {"accuracy": accuracy},
            codes=held["arch"],
            final={"test_accuracy": accuracy.mean(0)},
            known={"params": held["params"], "flops": held["flops"]},
            name="nasbench-macro",
            single=self.seeds == "one",
            budget=100.0,
        )
