"""EC-NAS: every NAS-Bench-101 cell of at most five vertices on CIFAR-10, with the measured energy of its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mimar.core.ranges import validate
from mimar.evaluators.columns import significant
from mimar.evaluators.table import Table
from mimar.evaluators.table_file import arrays
from mimar.evaluators.tables.nasbench101 import EDGES, OPERATIONS, code
from mimar.space.dag import dag
from mimar.tasks import locate

VERTICES = 5
SHORT, LONG = 2.0, 4.0  # epochs


@dataclass(frozen=True)
class EcNas:
    """The table of 2,532 cells: validation accuracy and energy after 2 and 4 epochs of one training; the verdict is of 4.

    The space: all graphs of five vertices with at most nine living edges; each is the same network as one row. `energy`
    (kWh) is measured in the training, and known after it only; `predicted_energy` is the benchmark's own forecast, and
    `params` counts: both are known before. Time and energy of the first two epochs are taken as half of those of four.
    The budget of a search that names none is the time of 100 trainings. Bakhtiarifard et al., "EC-NAS", ICASSP 2024.
    """

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the table. Raises DataAbsentError, saying where to get it, when it is not on this machine."""
        held = arrays(locate.find("ec-nas"), "adj", "ops", "nv", "metrics", "metric_names")
        space = dag(VERTICES, OPERATIONS, EDGES)
        metrics = dict(zip(held["metric_names"].tolist(), significant(held["metrics"]).T, strict=True))
        codes = []
        for n, adjacency, ops in zip(held["nv"].tolist(), held["adj"].tolist(), held["ops"].tolist(), strict=True):
            edges = [(i, j) for i in range(n) for j in range(n) if adjacency[i][j]]
            codes.append(code(space, [OPERATIONS[op] for op in ops[1 : n - 1]], edges))
        share = np.array([SHORT / LONG, 1.0])
        time = metrics["train_time4"]
        return Table.from_arrays(
            space,
            {
                "valid_accuracy": np.stack([metrics["val2"], metrics["val4"]]),
                "energy": np.outer(share, metrics["energy_kwh_4ep"]),
            },
            codes=np.array(codes),
            final={"test_accuracy": metrics["test4"]},
            known={"params": metrics["params"], "predicted_energy": metrics["predicted_energy_kwh"]},
            minimise=("energy",),
            units={"energy": "kWh", "predicted_energy": "kWh"},
            seconds=np.outer(share, time),
            fidelities=(SHORT, LONG),
            resumes=True,
            name="ec-nas",
            partial=True,  # of graphs that are the same network one has the row
            budget=100.0 * float(time.mean()),
        )
